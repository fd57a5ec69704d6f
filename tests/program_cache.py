"""Switches off the cache of programs (conftest.py) where compilations are compared."""

import contextlib
from collections.abc import Iterator

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@contextlib.contextmanager
def fresh_programs() -> Iterator[None]:
    """Every program is compiled again, in this process and in those that it starts.

    For tests that prove that two compilations give the same bits.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
        jax.config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()
        try:
            yield
        finally:
            jax.config.update("jax_enable_compilation_cache", True)
            compilation_cache.reset_cache()
