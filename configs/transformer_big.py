"""The big original Transformer, 214,171,648 parameters (Vaswani et al. 2017, section 5, table 3).

    python -m pretrain_jax.main --config=configs/transformer_big.py

See transformer_base.py for the recipe, the data format and the differences from the paper. It
trains for 300,000 steps with dropout 0.3 (English-French: 0.1). The paper prints 213 M, which would
need a vocabulary of about 35,900 ids.
"""

import transformer_base
from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config() -> ConfigDict:
    config = transformer_base.get_config()
    config.update(
        model=dict(width=1024, heads=16, feed_forward=4096, dropout=0.3),
        optimizer=dict(learning_rate=1024**-0.5),
        train=dict(steps=300_000),
    )
    return config
