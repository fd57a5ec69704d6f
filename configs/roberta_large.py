"""RoBERTa-Large, 355,411,033 parameters (Liu et al. 2019, table 9; fairseq examples/roberta).

    python -m pretrain_jax.main --config=configs/roberta_large.py --config.data.source="text:GLOB"

See roberta_base.py for the recipe, its sources and its differences from the paper. Here
model.types=1 gives 355,412,057 parameters.
"""

import roberta_base
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = roberta_base.get_config()
    config.update(
        model=dict(layers=24, width=1024, heads=16, feed_forward=4096, remat="full"),
        optimizer=dict(learning_rate=4e-4, warmup_steps=30_000),
        mesh=dict(data=1, fsdp=-1),
    )
    return config
