"""T5 3B, 2,851,598,336 parameters (Raffel et al. 2020, sections 2 and 3.7).

    python -m pretrain_jax.main --config=configs/t5_3b.py --config.data.source="text:GLOB"

See t5_base.py for the recipe, its sources and its differences from the paper. A microbatch has 128
rows.
The attention is 4,096 wide (32 heads of width 128); the model is 1,024 wide.
"""

import t5_base
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = t5_base.get_config()
    config.update(
        model=dict(
            layers=24, width=1024, heads=32, head_width=128, feed_forward=16384, remat="full"
        ),
        mesh=dict(data=1, fsdp=-1),
        train=dict(accumulate=16),
    )
    return config
