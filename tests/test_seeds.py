"""Every seed of 64 bits has a key of its own; those of 32 bits have jax's."""

import jax
import numpy as np
import pytest
import tiny_job

from pretrain_jax import code_version, seeds
from pretrain_jax.composition import build, config

SEEDS = (0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**33, 2**63, 2**64 - 1)


def test_seeds_of_32_bits_have_the_keys_of_jax():
    for seed in (0, 7, 2**31, 2**32 - 1):
        assert seeds.random_key(seed) == jax.random.key(seed)


def test_no_two_seeds_share_a_key():
    data = {
        tuple(np.asarray(jax.random.key_data(seeds.random_key(seed))).tolist()) for seed in SEEDS
    }
    assert len(data) == len(SEEDS)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_more_bits_are_refused(seed):
    with pytest.raises(ValueError, match=r"0 \.\. 2\^64 - 1"):
        seeds.random_key(seed)


def test_the_upper_half_of_a_seed_changes_the_first_parameters(tmp_path):
    job = tiny_job.write(tmp_path)

    def first(seed: int) -> np.ndarray:
        settings = build.fix_schedule(config.read(str(job), [("seed", str(seed))]))
        state = build.build_design(settings, tuple(jax.devices()[:1])).update.init_state()
        return np.asarray(state.params["embedding"]["tokens"])

    assert (first(0) == first(0)).all()
    assert (first(0) != first(2**32)).any()


def test_runs_of_longer_seeds_alone_are_concerned():
    assert code_version.changes_since(2, {"seed": 2**32 - 1}) == []
    assert code_version.changes_since(2, {"seed": 2**32}) == ["all 64 bits of a seed are used"]
