"""T5 1.1 Large, 783,150,080 parameters (Shazeer 2020; T5's released_checkpoints.md).

    python -m pretrain_jax.main --config=configs/t5_1_1_large.py --config.data.source="text:GLOB"

See t5_1_1_base.py for the recipe and its sources. A microbatch has 128 rows.
"""

import t5_1_1_base
from ml_collections import ConfigDict

PODS = {"v5e:2x4": {}}


def get_config() -> ConfigDict:
    config = t5_1_1_base.get_config()
    config.update(
        model=dict(layers=24, width=1024, heads=16, feed_forward=2816, remat="full"),
        train=dict(accumulate=16),
    )
    return config
