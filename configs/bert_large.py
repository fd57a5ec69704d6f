"""BERT-Large, 336,226,108 parameters (Devlin et al. 2019, section 3 and appendix A.2).

    python -m pretrain_jax.main --config=configs/bert_large.py --config.data.source="text:GLOB"

Without the two pretraining heads there are 335,141,888 parameters; the paper prints 340M. See
bert_base.py for the recipe, its sources and its differences from the paper.
"""

import bert_base
from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config() -> ConfigDict:
    config = bert_base.get_config()
    config.update(
        model=dict(layers=24, width=1024, heads=16, feed_forward=4096, remat="full"),
        mesh=dict(data=1, fsdp=-1),
    )
    return config
