"""T5 Large, 737,668,096 parameters (Raffel et al. 2020, sections 2 and 3.7).

    python -m pretrain_jax.main --config=configs/t5_large.py --config.data.source="text:GLOB"

See t5_base.py for the recipe, its sources and its differences from the paper. A microbatch has 128
rows.
"""

import t5_base
from ml_collections import ConfigDict

PODS = {"v5e:2x4": {}}


def get_config() -> ConfigDict:
    config = t5_base.get_config()
    config.update(
        model=dict(layers=24, width=1024, heads=16, feed_forward=4096, remat="full"),
        train=dict(accumulate=16),
    )
    return config
