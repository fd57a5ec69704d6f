"""T5 Small, 60,506,624 parameters (Raffel et al. 2020, sections 2 and 3.7).

    python -m pretrain_jax.main --config=configs/t5_small.py --config.data.source="text:GLOB"

See t5_base.py for the recipe, its sources and its differences from the paper. A microbatch has 512
rows.
"""

import t5_base
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = t5_base.get_config()
    config.update(
        model=dict(layers=6, width=512, heads=8, feed_forward=2048),
        train=dict(accumulate=4),
    )
    return config
