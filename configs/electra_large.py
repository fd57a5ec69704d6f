"""ELECTRA-Large, 354,655,291 parameters (Clark et al. 2020, table 6).

    python -m pretrain_jax.main --config=configs/electra_large.py --config.data.source="text:GLOB"

51,295,290 of these are the generator, of a quarter of the width, and 335,142,913 the discriminator.
2,048 rows of 512, 400,000 steps; a quarter of the tokens is masked. electra_base.py has the recipe,
its sources and its departures. A step computes 256 rows at a time; more than 256 devices need a
smaller train.accumulate. The released file is another run, of 1.75 M steps.
"""

import electra_base
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = electra_base.get_config()
    config.update(
        objective=dict(rate=0.25),
        model=dict(
            layers=24,
            width=1024,
            heads=16,
            feed_forward=4096,
            remat="full",
            embedding_width=1024,
            generator_fraction=1 / 4,
        ),
        mesh=dict(data=1, fsdp=-1),
        train=dict(steps=400_000, batch_size=2048, accumulate=8),
    )
    return config
