"""GPT-3 Large, 760,300,032 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_760m.py --config.data.source="text:GLOB"

See gpt3_125m.py for the recipe, its sources and its differences from the paper. Steps and batches
are the same.
"""

import gpt3_125m
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = gpt3_125m.get_config()
    config.update(
        model=dict(layers=24, width=1536, heads=16, feed_forward=6144),
        optimizer=dict(learning_rate=2.5e-4),
    )
    return config
