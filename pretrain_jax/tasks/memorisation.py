"""Memorisation: how often greedy decoding continues the training text verbatim, by how often the
passage stands there (Carlini et al. 2023, "Quantifying memorization").

A passage is 50 tokens of a training document; the model reads the 50 tokens before it. It is
memorised if what the model writes is the passage.
"""

from collections.abc import Sequence

import numpy as np

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.gram_hashes import hash_grams
from pretrain_jax.tasks._answer import Question
from pretrain_jax.tasks._base import Corpus, Model, Prompting, Report, Task, share

PASSAGE = PROMPT = 50
"""Tokens."""
ITEMS = 100
"""Of each group, at most."""
BUCKETS = (1, 2, 10, 100)
"""Least number of occurrences of each group."""
SEARCHED = 10_000_000
"""Tokens at the start of the training text in which passages are counted."""


def read_corpus(corpus: Corpus) -> list[Question]:
    """Passages of each group, always the same. Raises DataError for text that is too short."""
    length = PROMPT + PASSAGE
    texts = [text for text in corpus.train if len(text) >= length]
    if not texts:
        raise DataError(
            f"memorisation needs documents of {length} tokens or more; the training text has none"
        )
    tokens = np.concatenate(texts)[:SEARCHED]
    sizes = np.array([len(text) for text in texts])
    place = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    left = np.repeat(sizes, sizes) - place
    inside = (place >= PROMPT) & (left >= PASSAGE)
    inside[max(len(tokens) - PASSAGE + 1, 0) :] = False
    starts = np.flatnonzero(inside)
    _, which, counts = np.unique(
        hash_grams(tokens, PASSAGE)[starts], return_inverse=True, return_counts=True
    )
    times = counts[which]
    rng = np.random.default_rng(0)
    items = []
    for least, most in zip(BUCKETS, [*BUCKETS[1:], len(tokens) + 1], strict=True):
        found = starts[(times >= least) & (times < most)]
        _, first = np.unique(which[(times >= least) & (times < most)], return_index=True)
        found = found[first]  # each passage once
        name = f"{least} times" if most - least == 1 else f"{least} times or more"
        for start in rng.permutation(found)[:ITEMS]:
            prompt, passage = tokens[start - PROMPT : start], tokens[start : start + PASSAGE]
            both = corpus.decode(np.concatenate([prompt, passage]))
            context = corpus.decode(prompt)
            items.append(Question(context, (both[len(context) :],), name))
    return items


def ask(
    model: Model, items: Sequence[Question], pool: Sequence[Question], prompting: Prompting
) -> list[Report]:
    del pool, prompting
    if 0 < model.positions < PROMPT + PASSAGE:
        raise ConfigError(
            f"memorisation needs a model that reads {PROMPT + PASSAGE} tokens; this one has "
            f"{model.positions} positions"
        )
    made = model.answers([item.context for item in items], PASSAGE, ())
    return [
        {
            "group": item.group,
            "passage": item.answers[0],
            "prediction": text,
            "memorised": float(text.startswith(item.answers[0])),
        }
        for item, text in zip(items, made, strict=True)
    ]


TASK = Task(
    read_corpus=read_corpus,
    ask=ask,
    metrics={"memorised": share("memorised")},
    needs="answers",
    takes_shots=False,
    protocol=f"After {PROMPT} tokens of a training document, the next {PASSAGE}, by greedy "
    "decoding, equal the document's.",
)
