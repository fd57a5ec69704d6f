"""T5 1.1 XXL, 11,135,332,352 parameters (Shazeer 2020; T5's released_checkpoints.md).

    python -m pretrain_jax.main --config=configs/t5_1_1_xxl.py --config.data.source="text:GLOB"

See t5_1_1_base.py for the recipe and its sources. A microbatch has 128 rows.
"""

import t5_1_1_base
from ml_collections import ConfigDict

PODS = {"v5p:4x4x4": {"mesh.data": 4, "train.accumulate": 4}}


def get_config() -> ConfigDict:
    config = t5_1_1_base.get_config()
    config.update(
        model=dict(layers=24, width=4096, heads=64, feed_forward=10240, remat="full"),
        mesh=dict(data=1, fsdp=-1),
        train=dict(accumulate=16),
    )
    return config
