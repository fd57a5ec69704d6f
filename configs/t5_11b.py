"""T5 11B, 11,307,321,344 parameters (Raffel et al. 2020, sections 2 and 3.7).

    python -m pretrain_jax.main --config=configs/t5_11b.py --config.data.source="text:GLOB"

See t5_base.py for the recipe, its sources and its differences from the paper. A microbatch has 128
rows.
The attention is 16,384 wide (128 heads of width 128); the model is 1,024 wide.
"""

import t5_base
from ml_collections import ConfigDict

PODS = {"v5p:4x4x4": {"mesh.data": 4, "train.accumulate": 4}}


def get_config() -> ConfigDict:
    config = t5_base.get_config()
    config.update(
        model=dict(
            layers=24, width=1024, heads=128, head_width=128, feed_forward=65536, remat="full"
        ),
        mesh=dict(data=1, fsdp=-1),
        train=dict(accumulate=16),
    )
    return config
