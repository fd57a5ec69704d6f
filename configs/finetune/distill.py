"""Distills the model of a run into one of half its layers.

    python -m pretrain_jax.main --config=configs/finetune/distill.py:runs/bert_base \
        --config.data.source="text:GLOB"

The recipe is DistilBERT's (Sanh et al. 2019; its released code): the student starts from every
second layer of its teacher, reads the teacher's distribution at temperature 2 with weight 5, the
text with weight 2 and the hidden states with weight 1, at a learning rate of 5e-4 after 5 % of
warm-up. The text is the user's; without data.source, it is the source code of Python's standard
library. Decoders are distilled as language models, encoders as masked ones.
"""

from typing import Any

import _recipes


def get_config(run: str = "") -> dict[str, Any]:
    config = _recipes.from_model(run, "distill", rate=5e-4, warmup=0.05, teacher=run)
    source = _recipes.read_run(run)
    layers = source["model"]["layers"]
    masked = _recipes.reads_both_ways(source["model"]["name"])
    config["objective"].update(task="masked_lm" if masked else "causal_lm", cosine_weight=1.0)
    config["init_layers"] = tuple(range(0, layers, 2))
    config["model"]["layers"] = len(config["init_layers"])
    return config
