"""A device without enough memory, told in words."""

import contextlib
from collections.abc import Iterator

from pretrain_jax.errors import OutOfMemory


@contextlib.contextmanager
def explain() -> Iterator[None]:
    """Raises OutOfMemory where XLA does not get the memory that it asks for, in compiling or after:
    "RESOURCE_EXHAUSTED: ...", or "INTERNAL: ... Out of memory allocating 4398046511104 bytes."
    """
    try:
        yield
    except RuntimeError as error:
        from jax.errors import JaxRuntimeError  # which commands import late

        said = any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "Out of memory"))
        if not (said and isinstance(error, JaxRuntimeError)):
            raise
        raise OutOfMemory(
            "parameters, optimizer and a step must fit into the memory of a device; XLA said "
            f"{str(error).partition(chr(10))[0]!r}. What helps, with the batch as it is: "
            "train.accumulate=2 or more, model.remat=dots or full, and on several devices "
            "mesh.fsdp=-1 with mesh.data=1; then a smaller train.batch_size or data.seq_len. "
            "In a workdir that a run has begun in only mesh.* may change. --mode=compile says what "
            "a step needs"
        ) from error
