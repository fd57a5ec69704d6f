"""ELECTRA-Large, 354,655,291 parameters (Clark et al. 2020, table 6).

    python -m pretrain_jax.main --config=configs/electra_large.py --config.data.source="text:GLOB"

The generator has 51,295,290 of these parameters and a quarter of the discriminator's width; the
discriminator has 335,142,913. Training has 400,000 steps of 2,048 rows of 512 tokens. A quarter of
the tokens is masked. See electra_base.py for the recipe, its sources and its differences from the
paper. A microbatch has 256 rows; more than 256 devices need a smaller train.accumulate. The
released checkpoint comes from another run, of 1.75 M steps.
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
