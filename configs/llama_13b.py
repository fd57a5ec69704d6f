"""LLaMA 13B, 13,015,864,320 parameters (Touvron et al. 2023, sections 2.1 to 2.3, table 2).

    python -m pretrain_jax.main --config=configs/llama_13b.py --config.data.source="text:GLOB"

See llama_7b.py for the recipe, its sources and its differences from the paper. It trains on 1.0 T
tokens in 238,400 steps.
"""

import llama_7b
from ml_collections import ConfigDict

PODS = {"v5p:4x8x8": {}}


def get_config() -> ConfigDict:
    config = llama_7b.get_config()
    config.update(
        model=dict(layers=40, width=5120, heads=40, feed_forward=13824),
    )
    return config
