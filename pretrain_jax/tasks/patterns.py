"""Patterns made on the spot: a rule that only the examples of the prompt show.

    q r s > s r q

    a b > b a

    k l m >            (the rule is "reverse"; right is "m l k")

Each item is a few letters, and its group is a rule. With --shots, the examples have the same rule:
in-context learning is the rise of accuracy with them.
"""

from collections.abc import Callable

import numpy as np

from pretrain_jax.tasks._answer import Question, answer_task, score_by
from pretrain_jax.tasks._base import share

ITEMS = 100
"""Of each rule."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LENGTHS = (2, 5)
"""Of an item: the least, and one more than the most."""
RULES: dict[str, Callable[[list[str]], list[str]]] = {
    "copy": lambda x: x,
    "reverse": lambda x: x[::-1],
    "first": lambda x: x[:1],
    "last": lambda x: x[-1:],
    "double": lambda x: [letter for letter in x for _ in range(2)],
    "rotate": lambda x: [*x[1:], x[0]],
}


def make(rule: str, count: int, seed: int) -> list[Question]:
    """`count` items of a rule."""
    rng = np.random.default_rng((seed, list(RULES).index(rule)))
    items = []
    for _ in range(count):
        letters = list(rng.choice(list(LETTERS), rng.integers(*LENGTHS), replace=False))
        answer = " ".join(RULES[rule](letters))
        items.append(Question(f"{' '.join(letters)} >", (answer,), rule))
    return items


def make_all() -> list[Question]:
    """The same items each time."""
    return [item for rule in RULES for item in make(rule, ITEMS, 0)]


score = score_by(lambda text, right: text.split() == right.split())
"""Right are the letters, apart from spaces."""
TASK = answer_task(
    None,
    'Letters and " >"; right is the line that greedy decoding makes, apart from spaces.',
    tokens=24,
    metrics={"accuracy": share("accuracy")},
    score=score,
    make=make_all,
    takes_reasons=False,
)
