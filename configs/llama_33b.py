"""LLaMA 33B, 32,528,943,616 parameters (Touvron et al. 2023, sections 2.1 to 2.3, table 2).

    python -m pretrain_jax.main --config=configs/llama_33b.py --config.data.source="text:GLOB"

See llama_7b.py for the recipe, its sources and its differences from the paper. It trains on 1.4 T
tokens in 333,800 steps.
"""

import llama_7b
from ml_collections import ConfigDict

PODS = {"v5p:4x8x8": {}}


def get_config() -> ConfigDict:
    config = llama_7b.get_config()
    config.update(
        model=dict(layers=60, width=6656, heads=52, feed_forward=17920),
        optimizer=dict(learning_rate=1.5e-4),
        train=dict(steps=333_800),
    )
    return config
