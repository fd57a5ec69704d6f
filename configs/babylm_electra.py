"""ELECTRA for BabyLM's budget of 10 million words, 108,219,393 parameters (docs/howto/babylm.md).

    python -m pretrain_jax.main --config=configs/babylm_electra.py:babylm_10M

The argument after the colon is the folder with BabyLM's *.train files. The discriminator has the
shape of babylm_bert.py and the generator a third of its width, as in electra_base.py. The recipe is
that of babylm_gpt.py, with ELECTRA-Base's learning rate of 2e-4 and weight decay of 0.01 (Clark et
al. 2020, table 6). BabyLM's organizers published no ELECTRA.
Without an argument, the text is the source code of Python's standard library.
"""

import babylm_gpt
from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config(folder: str = "") -> ConfigDict:
    config = babylm_gpt.get_config(folder)
    config.update(
        tokenizer=dict(name="wordpiece"),
        objective=dict(name="replaced_token"),
        model=dict(name="electra", embedding_width=768, generator_fraction=1 / 3),
        optimizer=dict(learning_rate=2e-4, weight_decay=0.01),
    )
    return config
