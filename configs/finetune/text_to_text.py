"""Finetunes the model of a run to write one text for another: answers, translations, summaries.

    python -m pretrain_jax.main --config=configs/finetune/text_to_text.py:runs/t5_nano \
        --config.data.source=text:train.tsv --config.data.validation=text:valid.tsv \
        --config.data.text_key=question --config.data.target_key=answer

The files are .jsonl, .tsv or .csv; the keys name their columns. Evaluations answer every validation
record and keep the checkpoint with the best exact match; objective.metric names another metric. An
encoder-decoder reads the text with its encoder, a decoder in front of its answer. A row holds as
many pairs as fit.
"""

from typing import Any

import _recipes


def get_config(run: str = "") -> dict[str, Any]:
    config = _recipes.own_records(run, "text_to_text")
    config["data"]["target_key"] = "target"
    is_t5 = _recipes.is_t5(run.partition(",")[0])
    config["objective"] = dict(
        name="text_to_text",
        metric="exact_match",
        inputs="memory" if is_t5 else "stream",
        targets_length=config["data"]["seq_len"] // 2,
    )
    return config
