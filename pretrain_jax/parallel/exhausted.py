"""A device without enough memory, told in words."""

import contextlib
from collections.abc import Iterator

import jax

from pretrain_jax.errors import OutOfMemory


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raises OutOfMemory where XLA does not get the memory that it asks for, in compiling or after:
    "RESOURCE_EXHAUSTED: ...", or "INTERNAL: ... Out of memory allocating 4398046511104 bytes."
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "Out of memory")):
            raise
        raise OutOfMemory(
            "parameters, optimizer and a step must fit into the memory of a device; XLA said "
            f"{str(error).partition(chr(10))[0]!r}. What helps, with the batch as it is: "
            "model.remat=dots or full, train.accumulate=2 or more, and on several devices "
            "mesh.fsdp=-1 with mesh.data=1; then a smaller train.batch_size or data.seq_len. "
            "In a workdir that a run has begun in only mesh.* may change. --mode=compile says what "
            "a step needs"
        ) from error
