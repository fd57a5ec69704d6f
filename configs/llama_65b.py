"""LLaMA 65B, 65,285,660,672 parameters (Touvron et al. 2023, sections 2.1 to 2.3, table 2).

    python -m pretrain_jax.main --config=configs/llama_65b.py --config.data.source="text:GLOB"

See llama_7b.py for the recipe, its sources and its differences from the paper. It trains on 1.4 T
tokens in 333,800 steps.
The epsilon of the norms is 1e-5, as in most copies of the released parameter file of this size.
Some copies have 1e-6, which the other sizes use.
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
