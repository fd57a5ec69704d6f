"""LLaMA 2 70B, 68,976,648,192 parameters (Touvron et al. 2023b, section 2.2, table 1).

    python -m pretrain_jax.main --config=configs/llama2_70b.py --config.data.source="text:GLOB"

See llama2_7b.py for the recipe, its sources and its differences from the paper. Eight query heads
share each of the 8 heads of keys and values, so mesh.tensor can be at most 8.
"""

import llama2_7b
from ml_collections import ConfigDict

PODS = {"v5p:8x8x8": {}}


def get_config() -> ConfigDict:
    config = llama2_7b.get_config()
    config.update(
        model=dict(layers=80, width=8192, heads=64, kv_heads=8, feed_forward=28672),
        optimizer=dict(learning_rate=1.5e-4),
    )
    return config
