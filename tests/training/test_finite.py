"""A state that is not finite is neither kept nor saved; the message names its arrays."""

import jax
import jax.numpy as jnp
import pytest
import tiny_job

from pretrain_jax.composition import config
from pretrain_jax.errors import NonFinite, list_names
from pretrain_jax.training import finite, loop
from pretrain_jax.workdir.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_every_array_with_a_bad_number_is_named(bad, dtype):
    state = {
        "params": {"a": jnp.ones((3, 4), dtype), "b": jnp.ones(5, dtype).at[4].set(bad)},
        "step": jnp.int32(7),
        "moment": [jnp.zeros(2, dtype), jnp.full(2, bad, dtype)],
    }
    assert finite.non_finite_arrays(state) == ["moment/1", "params/b"]
    assert finite.non_finite_arrays({"step": jnp.int32(1)}) == []


def test_a_long_list_is_cut():
    assert list_names([f"p{n}" for n in range(20)]) == "p0, p1, p2, p3, p4 and 15 more"


VALUES = {"loss": 2.0, "grad_norm": float("nan"), "learning_rate": 1e-3, "finite": 0.0}


def test_the_message_names_the_learning_rate_only_if_it_was_applied():
    good = {"params": jnp.ones(3)}
    first, later = (finite.explain_update(step, VALUES, good) for step in (1, 100))
    assert "grad_norm nan" in first and "optimizer.learning_rate" not in first
    assert "optimizer.learning_rate" in later
    broken = finite.explain_update(100, VALUES, {"params": jnp.full(3, jnp.inf)})
    assert "params" in broken
    infinite = finite.explain_update(1, VALUES | {"learning_rate": float("inf")}, good)
    assert "learning_rate inf" in infinite and "Lower optimizer.learning_rate" in infinite


# numpy warns about a rate that float32 cannot represent; the test checks that it ends the run.
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_a_learning_rate_beyond_float32_ends_the_run_before_the_first_update(tmp_path):
    huge = [("optimizer.learning_rate", "1e39"), ("checkpoint.every", "1")]
    with pytest.raises(NonFinite, match="learning_rate inf") as ended:
        loop.train(config.read(str(tiny_job.write(tmp_path)), huge), str(tmp_path / "run"))
    assert ended.value.exit_code == 81
    assert saved(tmp_path) == []


def test_a_state_that_is_not_finite_is_not_saved_even_if_the_loss_is_finite(tmp_path, monkeypatch):
    class Overflowing(loop.CompiledSteps):
        """Moments of the optimizer overflow in the third update, which no loss shows."""

        def __call__(self, phase):
            taken = super().__call__(phase)

            def step(state, batch, frozen):
                state, metrics = taken(state, batch, frozen)
                if int(state.step) == 3:
                    state = state.replace(opt_state=jax.tree.map(overflow, state.opt_state))
                return state, metrics

            return step

    monkeypatch.setattr(loop, "CompiledSteps", Overflowing)
    every = [("checkpoint.every", "2"), ("train.steps", "4")]
    with pytest.raises(NonFinite, match="opt_state"):
        loop.train(config.read(str(tiny_job.write(tmp_path)), every), str(tmp_path / "run"))
    assert saved(tmp_path) == [2]


def overflow(array):
    return array + jnp.inf if jnp.issubdtype(array.dtype, jnp.inexact) else array


def saved(folder):
    with Checkpoints(folder / "run" / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.steps()
