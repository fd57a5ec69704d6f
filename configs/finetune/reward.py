"""Trains a reward model: a number for each answer, from the model of a run.

    python -m pretrain_jax.main --config=configs/finetune/reward.py:runs/chat \
        --config.data.source=text:pairs.jsonl

A record has "prompt", "chosen" and "rejected". The learning rate of 9e-6 along a cosine is that of
InstructGPT (Ouyang et al. 2022, appendix C.2). Small models need higher ones.
"""

from typing import Any

import _recipes


def get_config(run: str = "") -> dict[str, Any]:
    return _recipes.from_model(run, "reward", rate=9e-6, warmup=0.03)
