"""Finetunes the model of a run to tag words: named entities, parts of speech.

    python -m pretrain_jax.main --config=configs/finetune/tag.py:runs/bert_nano \
        --config.data.source=text:train.conll --config.data.validation=text:valid.conll

Everything else is as in classify.py.
"""

from typing import Any

import _recipes


def get_config(run: str = "") -> dict[str, Any]:
    return _recipes.own_records(run, "tag")
