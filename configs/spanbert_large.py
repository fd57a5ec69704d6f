"""SpanBERT-Large, 336,998,976 parameters (Joshi et al. 2020, sections 3 and 4.2).

    python -m pretrain_jax.main --config=configs/spanbert_large.py --config.data.source="text:GLOB"

The body has 332,529,664 of these parameters. See spanbert_base.py for the recipe, its sources and
its differences from the paper.
"""

import spanbert_base
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = spanbert_base.get_config()
    config.update(
        model=dict(layers=24, width=1024, heads=16, feed_forward=4096, remat="full"),
        mesh=dict(data=1, fsdp=-1),
    )
    return config
