"""The data state of a checkpoint is checked before a run continues from it."""

import jax.numpy as jnp
import pytest

from pretrain_jax.composition import resume
from pretrain_jax.errors import DataError
from pretrain_jax.workdir.checkpoint import Checkpoints


@pytest.mark.parametrize("tokens", ["x", -5, float("nan"), [1], 12])
def test_totals_that_are_no_numbers_are_refused(tmp_path, tokens):
    data = {"fingerprints": {"sources": [], "tokenizer": ""}, "tokens": tokens, "seconds": 1.5}
    with Checkpoints(tmp_path, every=1) as checkpoints:
        checkpoints.save(1, {"x": jnp.zeros(2)}, data, {})
        checkpoints.wait()
        if tokens == 12:
            assert resume.read_totals(checkpoints, 1) == {"tokens": 12, "seconds": 1.5}
            return
        with pytest.raises(DataError, match="must have tokens as a number from 0"):
            resume.read_totals(checkpoints, 1)
