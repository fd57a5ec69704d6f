"""LLaMA 2 13B, 13,015,864,320 parameters (Touvron et al. 2023b, section 2.2, table 1).

    python -m pretrain_jax.main --config=configs/llama2_13b.py --config.data.source="text:GLOB"

See llama2_7b.py for the recipe, its sources and its differences from the paper.
"""

import llama2_7b
from ml_collections import ConfigDict

PODS = {"v5p:4x8x8": {}}


def get_config() -> ConfigDict:
    config = llama2_7b.get_config()
    config.update(
        model=dict(layers=40, width=5120, heads=40, feed_forward=13824),
    )
    return config
