"""What an evaluation says: numbers of held-out text beside what counting alone would reach."""

import math
from typing import Any

import jax
import numpy as np

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.inference import sampling
from pretrain_jax.sharding import rules


def numbers(
    design: Design, feed: Feed, params: Any, eval_function: Any, special: jax.Array
) -> dict[str, float | None]:
    """Held-out loss, what else says whether the model learns, and the yardsticks beside them."""
    totals: dict[str, list[float]] = {}
    size = feed.eval_batch_size
    for rows in feed.eval_batches(design.placement.rows.local_rows(size)):
        batch = design.placement.rows.to_global(rows, size)
        for term, pair in jax.device_get(eval_function(params, batch, special)).items():
            found = totals.setdefault(term, [0.0, 0.0])
            for place, number in enumerate(pair):
                found[place] += float(number)
    means = {term: total / weight for term, (total, weight) in totals.items() if weight}
    coefficients = design.update.program.coefficients
    loss = means["text"]
    scored = feed.eval_counts
    known = {"text", "loss"} | ({"z_loss"} - coefficients.keys())
    return {
        "valid/loss": loss,
        "valid/objective": sum(c * means.get(term, 0.0) for term, c in coefficients.items()),
        "valid/perplexity": math.exp(min(loss, 700.0)),
        "valid/bits_per_byte": totals["text"][0] / math.log(2) / max(scored.bytes, 1),
        "valid/tokens": totals["text"][1],
        **({} if feed.tokenizer.unk is None else {"valid/unknown": scored.unknown_share}),
        **{in_valid(name): value for name, value in means.items() if name not in known},
        **feed.yardsticks,
    }


def in_valid(name: str) -> str:
    """ "accuracy" -> "valid/accuracy"; a yardstick keeps its name."""
    return name if name.startswith("yardstick/") else f"valid/{name}"


def continuation(design: Design, feed: Feed, params: Any, step: int, prompt: np.ndarray) -> str:
    """A held-out prompt and what the model makes of it, marked apart."""
    made = sampling.continuation(
        params,
        design.update.program,
        prompt,
        design.spec.eval.sample_tokens,
        ids=feed.tokenizer.size,
        window=design.spec.phases.eval_seq_len,
        rows=rules.batch_ways(design.placement.mesh),
        seed=step,
    )
    return f"{feed.tokenizer.decode(prompt)}>>>{feed.tokenizer.decode(made)}"


def summary(step: int, values: dict[str, float | None]) -> str:
    """One line for the terminal: the loss beside what counting alone would reach."""
    sticks = [
        f"{name.removeprefix('yardstick/')} {value:.3f}"
        for name, value in values.items()
        if name.startswith("yardstick/") and value is not None
    ]
    said = {"loss", "objective", "perplexity", "bits_per_byte", "tokens", "unknown"}
    named = ((name.partition("/"), value) for name, value in values.items())
    more = "".join(
        f", {name.replace('_', ' ')} {value:.3f}"
        for (half, _, name), value in named
        if half == "valid" and name not in said and value is not None
    )
    unknown = values.get("valid/unknown")
    lost = f", {unknown:.1%} of the targets unknown" if unknown else ""
    return (
        f"step {step}: valid loss {values['valid/loss']:.4f}, perplexity "
        f"{values['valid/perplexity']:.1f}, {values['valid/bits_per_byte']:.3f} bits a byte"
        f"{more}{lost} ({', '.join(sticks)})"
    )
