"""Finetunes the model of a run to predict a number for texts or pairs of texts.

    python -m pretrain_jax.main --config=configs/finetune/regress.py:runs/bert_nano \
        --config.data.source=text:train.tsv --config.data.validation=text:valid.tsv

Everything else is as in classify.py.
"""

from typing import Any

import _recipes


def get_config(run: str = "") -> dict[str, Any]:
    return _recipes.own_records(run, "regress")
