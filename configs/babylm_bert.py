"""BERT for BabyLM's budget of 10 million words, 98,347,264 parameters (docs/howto/babylm.md).

    python -m pretrain_jax.main --config=configs/babylm_bert.py:babylm_10M

The argument after the colon is the folder with BabyLM's *.train files. The shape is that of the
organizers' first encoder, RoBERTa-base (Warstadt et al. 2023): BERT without segments and without
next-sentence prediction, whose masks are drawn again in every epoch. The recipe, its source and the
differences are those of babylm_gpt.py; RoBERTa's own vocabulary has 50,265 ids and its positions
are 512.
Without an argument, the text is the source code of Python's standard library.
"""

import babylm_gpt
from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config(folder: str = "") -> ConfigDict:
    config = babylm_gpt.get_config(folder)
    config.update(objective=dict(name="masked_lm"), model=dict(name="roberta"))
    return config
