"""Finetunes the encoder of a run on SQuAD 1.1 or 2.0, with BERT's recipe.

    python -m pretrain_jax.main --config=configs/finetune/squad.py:runs/bert [--workdir=...]

After the colon: RUN or RUN,FOLDER or RUN,FOLDER,VERSION. FOLDER has the official files
train-v1.1.json and dev-v1.1.json; default: squad. VERSION is 1.1 (the default) or 2.0, whose
questions may have no answer.

Devlin et al. 2019, sections 4.2 and 4.3: windows of 384 tokens, 3 epochs for 1.1 and 2 for 2.0,
batches of 32 windows. The learning rate is 3e-5, that of transformers' run_qa.py, which it
publishes with 88.5 F1 for bert-base-uncased (the paper has 5e-5, of three on the validation set).
An update has 16 rows of up to 2 windows.
"""

from typing import Any

import _recipes

from pretrain_jax import registry

VERSIONS = {"1.1": (87_599, 3), "2.0": (130_319, 2)}
"""Training questions and epochs."""


def get_config(argument: str = "") -> dict[str, Any]:
    run, folder, version = (*argument.split(",", 2), "", "")[:3]
    what = "the version in --config=configs/finetune/squad.py:RUN,FOLDER,VERSION"
    questions, epochs = registry.pick(VERSIONS, version or "1.1", what)
    root = f"text:{folder or 'squad'}"
    data = dict(
        source=f"{root}/train-v{version or '1.1'}.json",
        validation=f"{root}/dev-v{version or '1.1'}.json",
    )
    objective = dict(name="extract_span", unanswerable=version == "2.0")
    config = _recipes.finetune(run, objective, data, questions, epochs)
    config["data"]["seq_len"] = min(384, config["model"].get("max_length", 384))
    config["objective"]["per_row"] = 2
    config["train"]["batch_size"] = 16
    config["optimizer"]["learning_rate"] = 3e-5
    return config
