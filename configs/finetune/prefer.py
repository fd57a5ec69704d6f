"""Teaches the model of a run to prefer the better of two answers, with DPO, IPO or SimPO.

    python -m pretrain_jax.main --config=configs/finetune/prefer.py:runs/chat \
        --config.data.source=text:pairs.jsonl --config.objective.loss=dpo

A record has "prompt", "chosen" and "rejected". The recipe is that of the DPO paper (Rafailov et al.
2023, appendix B): beta 0.1 and a learning rate of 1e-6 after 150 updates of warm-up; its optimizer
is RMSprop, here AdamW. SimPO's rates are 3e-7 to 1e-6. Small models need higher ones.
"""

from typing import Any

import _recipes


def get_config(run: str = "") -> dict[str, Any]:
    inputs = dict(inputs="memory" if _recipes.is_t5(run) else "stream")
    return _recipes.from_model(run, "prefer", rate=1e-6, warmup=0.15, **inputs)
