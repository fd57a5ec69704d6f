"""Finetunes the model of a run to predict a number for texts or pairs of texts.

    python -m pretrain_jax.main --config=configs/finetune/regress.py:runs/bert_nano \
        --config.data.source=text:train.tsv --config.data.validation=text:valid.tsv

Everything else is as in classify.py.
"""

from typing import Any

import _recipes
import classify


def get_config(run: str = "") -> dict[str, Any]:
    examples = classify.STEPS * _recipes.EXAMPLES * _recipes.ROWS
    return _recipes.finetune(run, dict(name="regress"), dict(source="stdlib"), examples, epochs=1)
