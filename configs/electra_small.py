"""ELECTRA-Small, 14,196,219 parameters (Clark et al. 2020, table 6).

    python -m pretrain_jax.main --config=configs/electra_small.py --config.data.source="text:GLOB"

The generator has 4,620,026 of these parameters and a quarter of the discriminator's width; the
discriminator has 13,549,057. Training has a million steps of 128 rows of 128 tokens. See
electra_base.py for the recipe, its sources and its differences from the paper. The released
"Small++" comes from another run, with 4 M steps and a generator as wide as the discriminator.
"""

import electra_base
from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config() -> ConfigDict:
    config = electra_base.get_config()
    config.update(
        data=dict(seq_len=128),
        model=dict(
            width=256, heads=4, feed_forward=1024, embedding_width=128, generator_fraction=1 / 4
        ),
        optimizer=dict(learning_rate=5e-4),
        train=dict(steps=1_000_000, batch_size=128),
    )
    return config
