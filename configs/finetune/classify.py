"""Finetunes the model of a run to classify texts or pairs of texts.

    python -m pretrain_jax.main --config=configs/finetune/classify.py:runs/bert_nano \
        --config.data.source=text:train.tsv --config.data.validation=text:valid.tsv

RUN, after the colon, is the workdir of a pretrained run, or of an imported Hugging Face model. Its
architecture and its tokenizer are read from it. The recipe is that of the model's paper
(_recipes.py), for 1,000 updates of up to 32 examples: set train.steps, optimizer.warmup_steps and
optimizer.learning_rate for your data.
"""

from typing import Any

import _recipes


def get_config(run: str = "") -> dict[str, Any]:
    return _recipes.own_records(run, "classify")
