"""ELECTRA-Small, 14,196,219 parameters (Clark et al. 2020, table 6).

    python -m pretrain_jax.main --config=configs/electra_small.py --config.data.source="text:GLOB"

4,620,026 of these are the generator, of a quarter of the width, and 13,549,057 the discriminator.
128 rows of 128, a million steps. electra_base.py has the recipe, its sources and its departures.
The released "Small++" is another run: 4 M steps, and a generator as wide as the discriminator.
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
