"""The baselines that score the tokens of evaluation, from the rows of a feed."""

from typing import TYPE_CHECKING

import numpy as np

from pretrain_jax.batch import is_text
from pretrain_jax.data import baselines, pipeline
from pretrain_jax.data.eval_counts import EvalCounts
from pretrain_jax.progress import progress

if TYPE_CHECKING:
    from pretrain_jax.composition.feed import Feed

SAMPLED_ROWS = 64
"""Rows per member of a mixture in which predicted tokens are counted."""


def score(feed: "Feed") -> tuple[EvalCounts, dict[str, float]]:
    """(`Feed.eval_counts`, `Feed.baselines`), from one pass over the rows."""
    objective, scored = feed.design.task.objective, EvalCounts()
    ends = feed.boundary_ids(objective.arrange(feed.design.spec.phases.eval_seq_len))
    if "train" not in feed.splits:
        for _ in scored.count(feed.eval_batches(), feed.tokenizer, ends.values()):
            pass  # only counts: without a training split there are no baselines
        return scored, {}
    with progress("counting tokens for the baselines"):
        counts = baselines.count_tokens(
            [
                (feed.cache(source, "train"), share)
                for source, share in zip(feed.sources, token_shares(feed), strict=True)
            ],
            vocab_size=feed.tokenizer.size,
            begin=ends["begin"],
            end=ends["end"],
        )
        scores = baselines.score_baselines(
            objective.baselines,
            counts=counts,
            batches=scored.count(feed.eval_batches(), feed.tokenizer, ends.values()),
            special=feed.tokenizer.unscored,
        )
    return scored, {f"yardstick/{name}": value for name, value in scores.items()}


def token_shares(feed: "Feed") -> list[float]:
    """Relative number of predicted text tokens of each member of a mixture: its share of rows times
    the mean number of predicted tokens in its first rows."""
    stream = feed.stream("train", feed.design.spec.phases.eval_seq_len)
    if len(stream.members) == 1:
        return [1.0]
    shares = []
    for number, member in enumerate(stream.members):
        rows = np.arange(min(len(member.rows), SAMPLED_ROWS))
        fields, _ = member.take(rows, pipeline.EVAL_SEED, number)
        flat = {name: fields[name].values for name in ("targets", "weights")}
        predicted = is_text(flat, feed.tokenizer.unscored).sum()
        shares.append(member.rate * max(int(predicted), 1) / len(rows))
    return shares
