"""Arithmetic made on the spot, in the format of Brown et al. 2020, section 3.9.1."""

import numpy as np

from pretrain_jax.tasks._answer import Question, answer_task, score_by
from pretrain_jax.tasks._base import share

ITEMS = 100
"""Of each group."""
DIGITS = (1, 2, 3)
OPERATIONS = {"plus": lambda a, b: a + b, "minus": lambda a, b: a - b, "times": lambda a, b: a * b}


def make() -> list[Question]:
    """The same items each time: for 1, 2 and 3 digits, "What is 48 plus 76?" and so on."""
    rng = np.random.default_rng(0)
    items = []
    for name, compute in OPERATIONS.items():
        for digits in DIGITS:
            for a, b in rng.integers(0, 10**digits, (ITEMS, 2)).tolist():
                question = f"Q: What is {a} {name} {b}?\nA:"
                answer = str(compute(a, b))
                items.append(Question(question, (answer,), f"{digits} digits {name}", why(a, b)))
    return items


def why(a: int, b: int) -> str:
    """The digits of both numbers, which a model can then treat one by one.

    >>> why(48, 7)
    '48 is 4 8, and 7 is 7.'
    """
    return f"{a} is {' '.join(str(a))}, and {b} is {' '.join(str(b))}."


score = score_by(lambda text, right: text.rstrip(".") == right)
"""Right is the number, without a full stop after it."""
TASK = answer_task(
    None,
    '"Q: What is 48 plus 76?" and "A:"; the answer is the line that greedy decoding makes.',
    tokens=12,
    metrics={"accuracy": share("accuracy")},
    score=score,
    make=make,
)
