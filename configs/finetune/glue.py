"""Finetunes the model of a run on a task of GLUE (Wang et al. 2019), with the paper's recipe.

    python -m pretrain_jax.main --config=configs/finetune/glue.py:sst2,runs/bert [--workdir=...]

After the colon: TASK,RUN or TASK,RUN,FOLDER. FOLDER has the files of gluebenchmark.com, which
download_glue_data.py writes (SST-2/train.tsv, ...); default: glue. MNLI is validated on the matched
set. The metric of a task is the one that GLUE reports.

    python -m pretrain_jax.predict --workdir=... --source=text:glue/SST-2/test.tsv --fields=sentence

predicts a test set, which has no labels.
"""

from typing import Any

import _recipes

from pretrain_jax import registry

PAIR = ("sentence1", "sentence2")
TASKS = {
    # task: (folder, training file, validation file, text columns, label, examples, metric)
    "cola": ("CoLA", "train.tsv", "dev.tsv", ("3",), "1", 8_551, "matthews"),
    "sst2": ("SST-2", "train.tsv", "dev.tsv", ("sentence",), "label", 67_349, "accuracy"),
    "mrpc": (
        *("MRPC", "msr_paraphrase_train.txt", "msr_paraphrase_test.txt"),
        *(("#1 String", "#2 String"), "Quality", 4_076, "f1"),
    ),
    "stsb": ("STS-B", "train.tsv", "dev.tsv", PAIR, "score", 5_749, "pearson"),
    "qqp": ("QQP", "train.tsv", "dev.tsv", ("question1", "question2"), "is_duplicate",
            363_846, "f1"),
    "mnli": ("MNLI", "train.tsv", "dev_matched.tsv", PAIR, "gold_label", 392_702, "accuracy"),
    "qnli": ("QNLI", "train.tsv", "dev.tsv", ("question", "sentence"), "label", 104_743,
             "accuracy"),
    "rte": ("RTE", "train.tsv", "dev.tsv", PAIR, "label", 2_490, "accuracy"),
    "wnli": ("WNLI", "train.tsv", "dev.tsv", PAIR, "label", 635, "accuracy"),
}  # fmt: skip


def get_config(argument: str = "") -> dict[str, Any]:
    task, run, folder = (*argument.split(",", 2), "", "")[:3]
    row = registry.pick(TASKS, task, "the task in --config=configs/finetune/glue.py:TASK,RUN")
    name, train, valid, fields, label, examples, metric = row
    root = f"text:{folder or 'glue'}/{name}"
    objective = dict(name="regress" if task == "stsb" else "classify", metric=metric)
    data = dict(
        source=f"{root}/{train}",
        validation=f"{root}/{valid}",
        fields=fields,
        label_key=label,
    )
    return _recipes.finetune(run, objective, data, examples)
