"""Held-out loss and metrics, next to the losses of baselines that only count tokens."""

import math
from typing import Any

import jax

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed


def evaluate(
    design: Design, feed: Feed, params: Any, eval_function: Any, special: jax.Array
) -> dict[str, float | None]:
    """Metrics on held-out text, and the losses of the baselines on the same tokens.

    Keys: `valid/loss` (nats per predicted text token, without special tokens, z-loss, smoothing or
    auxiliary terms), `valid/objective` (the weighted sum that training minimizes),
    `valid/perplexity`, `valid/bits_per_byte`, `valid/tokens` (scored tokens), `valid/unknown`
    (share of targets that are unknown tokens, if the tokenizer has one), the objective's own terms,
    and `yardstick/uniform|unigram|bigram` and other baselines.

    eval_function: `step.eval_step` of (params, batch, special) -> {term: (sum, weight)}.
    special: bool [V], ids that no score counts.
    """
    totals: dict[str, list[float]] = {}
    size = feed.eval_batch_size
    for rows in feed.eval_batches(design.placement.rows.local_rows(size)):
        batch = design.placement.rows.to_global(rows, size)
        for term, pair in jax.device_get(eval_function(params, batch, special)).items():
            sums = totals.setdefault(term, [0.0, 0.0])
            for index, number in enumerate(pair):
                sums[index] += float(number)
    means = {term: total / weight for term, (total, weight) in totals.items() if weight}
    coefficients = design.update.program.coefficients
    loss = means["text"]
    scored = feed.eval_counts
    reported = {"text", "loss"} | ({"z_loss"} - coefficients.keys())
    return {
        "valid/loss": loss,
        "valid/objective": sum(c * means.get(term, 0.0) for term, c in coefficients.items()),
        "valid/perplexity": math.exp(min(loss, 700.0)),
        "valid/bits_per_byte": totals["text"][0] / math.log(2) / max(scored.bytes, 1),
        "valid/tokens": totals["text"][1],
        **({} if feed.tokenizer.unk is None else {"valid/unknown": scored.unknown_share}),
        **{metric_key(name): value for name, value in means.items() if name not in reported},
        **feed.baselines,
    }


def metric_key(name: str) -> str:
    """ "accuracy" -> "valid/accuracy"; a baseline keeps its key."""
    return name if name.startswith("yardstick/") else f"valid/{name}"


def format_summary(step: int, values: dict[str, float | None]) -> str:
    """One line for the terminal: loss and metrics, with the baselines in parentheses:

    step 100: valid loss 2.1530, perplexity 8.6, 3.106 bits per byte (unigram 2.149)
    """
    baselines = [
        f"{name.removeprefix('yardstick/')} {value:.3f}"
        for name, value in values.items()
        if name.startswith("yardstick/") and value is not None
    ]
    shown = {"loss", "objective", "perplexity", "bits_per_byte", "tokens", "unknown", "items"}
    named = ((name.partition("/"), value) for name, value in values.items())
    more = "".join(
        f", {name.replace('_', ' ')} {value:.3f}"
        for (half, _, name), value in named
        if half == "valid" and name not in shown and value is not None
    )
    asked: dict[str, str] = {}  # the first metric of each task
    for name, value in values.items():
        kind, _, rest = name.partition("/")
        if kind == "tasks" and value is not None:
            task, _, metric = rest.partition("/")
            asked.setdefault(task, f", {task} {metric} {value:.3f}")
    more += "".join(asked.values())
    unknown = values.get("valid/unknown")
    unknowns = f", {unknown:.1%} of the targets unknown" if unknown else ""
    return (
        f"step {step}: valid loss {values['valid/loss']:.4f}, perplexity "
        f"{values['valid/perplexity']:.1f}, {values['valid/bits_per_byte']:.3f} bits per byte"
        f"{more}{unknowns} ({', '.join(baselines)})"
    )
