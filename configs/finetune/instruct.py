"""Teaches the model of a run to answer: instruction tuning on conversations.

    python -m pretrain_jax.main --config=configs/finetune/instruct.py:runs/gpt2_xl \
        --config.data.source=text:chats.jsonl

A record has "messages", or Alpaca's "instruction", "input" and "output". The recipe is Alpaca's
(tatsu-lab/stanford_alpaca, 2023): learning rate 2e-5 along a cosine after 3 % of warm-up, no weight
decay; here for 1,000 updates of 8 rows. A row holds as many conversations as fit. With an
encoder-decoder, each answer is an example of its own.
"""

from typing import Any

import _recipes


def get_config(run: str = "") -> dict[str, Any]:
    is_t5 = _recipes.is_t5(run)
    inputs = dict(inputs="memory" if is_t5 else "stream")
    config = _recipes.from_model(run, "instruct", rate=2e-5, warmup=0.03, **inputs)
    if is_t5:
        config["objective"]["targets_length"] = config["data"]["seq_len"] // 2
    return config
