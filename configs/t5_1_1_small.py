"""T5 1.1 Small, 76,961,152 parameters (Shazeer 2020; T5's released_checkpoints.md).

    python -m pretrain_jax.main --config=configs/t5_1_1_small.py --config.data.source="text:GLOB"

See t5_1_1_base.py for the recipe and its sources. A microbatch has 512 rows.
The attention is 384 wide (6 heads of width 64); the model is 512 wide.
"""

import t5_1_1_base
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = t5_1_1_base.get_config()
    config.update(
        model=dict(layers=8, width=512, heads=6, feed_forward=1024),
        train=dict(accumulate=4),
    )
    return config
