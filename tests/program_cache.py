"""Switches off the cache of programs (conftest.py) where compilations are compared."""

import contextlib
from collections.abc import Iterator

import pytest

from pretrain_jax.xla import program_cache


@contextlib.contextmanager
def fresh_programs() -> Iterator[None]:
    """Every program is compiled again, in this process and in those that it starts.

    For tests that prove that two compilations give the same bits.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
        program_cache.switch(False)
        try:
            yield
        finally:
            program_cache.switch(True)
