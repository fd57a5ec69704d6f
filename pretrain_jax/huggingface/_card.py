"""The model card, README.md: what the model is, how it was trained, how to load it."""

from typing import Any

from etils import epath

from pretrain_jax.estimates import sizes
from pretrain_jax.huggingface._heads import PIPELINES
from pretrain_jax.huggingface._table import Folder
from pretrain_jax.inference.restore import Restored
from pretrain_jax.workdir import history

TASKS = {
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSeq2SeqLM": "text2text-generation",
    **PIPELINES,
}
"""pipeline_tag by class."""
FIGURES = {
    "valid/loss": "valid/loss (nats per predicted token)",
    "valid/bits_per_byte": "valid/bits_per_byte",
    "yardstick/bigram": "baseline: bigrams, same tokens",
    "yardstick/unigram": "baseline: token frequencies, same tokens",
    "yardstick/uniform": "baseline: uniform, same tokens",
    "yardstick/majority": "baseline: accuracy of the commonest label",
}
PREFIX = """
## The mask of a prefix LM

This model was trained with full attention within a prefix: every position of the prefix sees the
whole prefix. The class is causal by default, which is not what the model was trained with. Pass the
mask of the rows as a float array that is added to the scores (a boolean mask is not exact with
eager attention):

```python
def prefix_mask(length, prefix_length):
    order = torch.arange(length)
    visible = (order[:, None] >= order[None, :]) | (order[None, :] < prefix_length)
    mask = torch.zeros(length, length).masked_fill(~visible, torch.finfo(torch.float32).min)
    return mask[None, None]  # [1, 1, length, length]

model(input_ids, attention_mask=prefix_mask(input_ids.shape[1], prefix_length))
```
"""


def card(trained: Restored, folder: Folder, workdir: epath.Path, dtype: str) -> str:
    """The text of README.md for a folder."""
    spec, tokenizer = trained.design.spec, trained.tokenizer
    lines = history.read_metrics(workdir)
    task = TASKS.get(folder.auto_class)
    objective = trained.design.task.objective
    trained_as = "Finetuned" if objective.example_task else "Pretrained"
    scored = objective.best_metric and f"valid/{objective.best_metric}"
    header = ["library_name: transformers", "tags:", "- pretrain_jax", f"- {spec.model.name}"]
    header += [f"pipeline_tag: {task}"] * bool(task)
    shape = {key: value for key, value in spec.model.items() if key in SHAPE}
    rows = {
        "class": f"`{folder.architecture}`",
        "architecture": f"`{spec.model.name}`: {listed(shape)}",
        "parameters of the run": f"{sizes.total_parameters(trained.design):,}",
        "dtype": dtype,
        "objective": f"`{spec.objective.name}`: {listed(dict(spec.objective), skip='name')}",
        "tokenizer": f"`{spec.tokenizer.name}`, {tokenizer.size:,} ids",
        "text": f"`{spec.data.source}`" if not spec.data.mixture else "a mixture",
        "steps": f"{trained.step:,}",
        **figures(lines, trained.step, scored),
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    mask = PREFIX if objective.attention == "prefix" else ""
    return (
        "---\n" + "\n".join(header) + "\n---\n\n"
        f"# {workdir.name}\n\n"
        f"{trained_as} with pretrain_jax and exported to transformers.\n\n"
        f"| | |\n| --- | --- |\n{table}\n\n"
        "## Load\n\n```python\n"
        f"from transformers import {folder.auto_class}, AutoTokenizer\n\n"
        'folder = "."  # this folder\n'
        f"model = {folder.auto_class}.from_pretrained(folder)\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n```\n" + mask
    )


SHAPE = ("layers", "width", "heads", "head_width", "feed_forward", "vocab_size", "max_length")
"""Options of models that the card shows."""


def figures(lines: list[dict[str, Any]], step: int, scored: str) -> dict[str, str]:
    """What metrics.jsonl says of a step: tokens so far, losses and baselines, and the metric
    `scored` of an objective with labels."""
    values: dict[str, Any] = {}
    for line in lines:
        if line["step"] == step:
            values |= line
    rows = {"tokens": f"{values['tokens']:,}"} if values.get("tokens") else {}
    measured = {name: values.get(key) for key, name in {scored: scored, **FIGURES}.items()}
    return rows | {name: f"{value:.4f}" for name, value in measured.items() if value is not None}


def listed(options: dict[str, Any], skip: str = "") -> str:
    """Options as text: "layers=4, width=128"."""
    pairs = [f"{key}={value}" for key, value in options.items() if key != skip]
    return ", ".join(pairs) or "no options"
