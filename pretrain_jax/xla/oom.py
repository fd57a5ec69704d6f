"""Explains a device that runs out of memory."""

import contextlib
from collections.abc import Iterator

from pretrain_jax.errors import OutOfMemory


@contextlib.contextmanager
def explain() -> Iterator[None]:
    """Turns XLA's out-of-memory errors, when it compiles or runs, into OutOfMemory with advice.

    XLA's messages are "RESOURCE_EXHAUSTED: ..." and "INTERNAL: ... Out of memory allocating
    4398046511104 bytes."
    """
    try:
        yield
    except RuntimeError as error:
        from jax.errors import JaxRuntimeError  # which commands import late

        out_of_memory = any(text in str(error) for text in ("RESOURCE_EXHAUSTED", "Out of memory"))
        if not (out_of_memory and isinstance(error, JaxRuntimeError)):
            raise
        raise OutOfMemory(
            "parameters, optimizer state and a step must fit into the memory of a device; XLA "
            f"reports {str(error).partition(chr(10))[0]!r}. Try, with the same batch: "
            "train.accumulate=2 or more, model.remat=dots or full, and on several devices "
            "mesh.fsdp=-1 with mesh.data=1; then a smaller train.batch_size or data.seq_len. "
            "To resume a run, change only mesh.*. --mode=compile shows what a step needs"
        ) from error
