"""LLaMA 65B, 65,285,660,672 parameters (Touvron et al. 2023, sections 2.1 to 2.3, table 2).

    python -m pretrain_jax.main --config=configs/llama_65b.py --config.data.source="text:GLOB"

llama_7b.py has the recipe, its sources and its departures. 1.4 T tokens in 333,800 steps.
The norm's epsilon is 1e-5, as in most copies of this size's released parameter file; some have
1e-6, as the other sizes do.
"""

import llama_7b
from ml_collections import ConfigDict

PODS = {"v5p:8x8x8": {}}


def get_config() -> ConfigDict:
    config = llama_7b.get_config()
    config.update(
        model=dict(layers=80, width=8192, heads=64, feed_forward=22016, norm_epsilon=1e-5),
        optimizer=dict(learning_rate=1.5e-4),
        train=dict(steps=333_800),
    )
    return config
