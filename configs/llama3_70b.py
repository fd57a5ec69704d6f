"""LLaMA 3 70B, 70,553,706,496 parameters (Grattafiori et al. 2024, sections 3.2 and 3.4, table 3).

    python -m pretrain_jax.main --config=configs/llama3_70b.py --config.data.source="text:GLOB"

See llama3_8b.py for the recipe, its sources and its differences from the paper. The 8 heads of keys
and values allow a mesh.tensor of at most 8.
"""

import llama3_8b
from ml_collections import ConfigDict

PODS = {"v5p:8x8x8": {}}


def get_config() -> ConfigDict:
    config = llama3_8b.get_config()
    config.update(
        model=dict(layers=80, width=8192, heads=64, feed_forward=28672),
        optimizer=dict(learning_rate=1.5e-4),
    )
    return config
