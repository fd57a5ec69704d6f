"""Evaluation by generation: the model answers every validation record; the answers are scored."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pretrain_jax import switches
from pretrain_jax.composition.feed import Feed
from pretrain_jax.evaluation.examples import Reports, validation_records
from pretrain_jax.evaluation.samples import GREEDY
from pretrain_jax.inference.generation import Generator
from pretrain_jax.scores.texts import score_texts


def evaluate(
    feed: Feed, generator: Generator, check: Callable[[], None] = lambda: None
) -> tuple[dict[str, float], Reports]:
    """(metrics, the target and the generated text of each record, in the order of the source).

    Keys: `valid/exact_match`, `valid/f1`, `valid/bleu`, `valid/chrf` (scores/texts.py), and
    `valid/items`, the records with an input and a target. An input that is too long is cut as in
    training; its answer is compared with the complete target. An answer has as many tokens as a
    target may have in training, at most.

    check: called before each batch; what it raises ends the evaluation.
    """
    (source,) = feed.sources
    seq_len = feed.design.spec.phases.eval_seq_len
    records, objective = validation_records(feed), source.objective
    assert objective.prompt is not None
    inputs = records.take(np.arange(len(records)))["inputs"].split()
    prompts = [objective.prompt(ids, feed.tokenizer) for ids in inputs]
    tokens = objective.arrange(seq_len)["targets"] + 1  # and the end token
    made: dict[int, str] = {}
    size = feed.eval_batch_size
    by_length = np.argsort(records.length[:, 0], kind="stable")  # less padding, fewer programs
    for part in np.split(by_length, range(size, len(by_length), size)):
        check()
        texts = generator.generate([prompts[i] for i in part], tokens, GREEDY, batch_size=size)
        made |= {int(i): text.text for i, text in zip(part, texts, strict=True)}
    targets = read_targets(source.corpus)
    reports: list[dict[str, Any]] = [
        {"number": int(number), "label": targets[number], "prediction": made[place]}
        for place, number in enumerate(records.document)
    ]
    scores = score_texts([x["label"] for x in reports], [x["prediction"] for x in reports])
    values = {f"valid/{name}": value for name, value in scores.items()}
    return {**values, "valid/items": float(len(reports))}, reports


def read_targets(corpus: Any) -> list[str]:
    """The target text of each validation record; "" without one."""
    documents = ("".join(blocks) for blocks in corpus.documents("valid"))
    parts = (dict(switches.split_at_switches(text)) for text in documents)
    return [part.get(1, "") for part in parts]
