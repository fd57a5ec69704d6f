"""Counts of n-grams: the model is the published formula, and a distribution."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from pretrain_jax.data.ngrams import Ngrams, count

VOCAB, BEGIN = 7, 99


def corpus(seed=0, texts=40):
    rng = np.random.default_rng(seed)
    draw = lambda: np.minimum(rng.geometric(0.4, rng.integers(1, 12)) - 1, VOCAB - 1)  # noqa: E731
    return [draw() for _ in range(texts)]


def build(texts, order):
    return Ngrams(count(texts, order, BEGIN), VOCAB, BEGIN)


def reference(texts, order):
    """P(w, context) by dictionaries, straight from the formulas of the module's docstring."""
    raw = Counter()
    for text in texts:
        stream = (BEGIN, *text.tolist())
        for n in range(1, order + 1):
            for i in range(len(stream) - n + 1):
                if i + n > 1:  # the begin id is never predicted
                    raw[stream[i : i + n]] += 1
    before = defaultdict(set)
    for gram in raw:
        before[gram[1:]].add(gram[0])

    def count(gram):
        if len(gram) == order or gram[0] == BEGIN:
            return raw[gram]
        return len(before[gram])

    tables = {n: {g: count(g) for g in raw if len(g) == n} for n in range(1, order + 1)}
    discounts = {}
    for n, table in tables.items():
        n1, n2, n3, n4 = (sum(c == k for c in table.values()) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2) if n1 else 0
        every = all((n1, n2, n3, n4))
        d = (
            (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
            if every
            else (0.5, 1, 1.5)
        )
        discounts[n] = (0.0, *d)

    def probability(token, context):
        n = len(context) + 1
        lower = probability(token, context[1:]) if n > 1 else 1 / VOCAB
        after = {g[-1]: c for g, c in tables[n].items() if g[:-1] == context}
        total = sum(after.values())
        if not total:
            return lower
        d = discounts[n]
        seen = after.get(token, 0)
        left = sum(d[min(c, 3)] for c in after.values()) / total
        return (seen - d[min(seen, 3)]) / total + left * lower

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_model_is_the_published_formula(order):
    texts = corpus()
    model, expected = build(texts, order), reference(texts, order)
    for text in [*corpus(1, 5), np.arange(VOCAB)]:
        stream = (BEGIN, *text.tolist())
        for i, log_p in enumerate(model.log_probabilities(text), start=1):
            context = stream[max(i - order + 1, 0) : i]
            assert log_p == pytest.approx(math.log(expected(stream[i], context)), abs=1e-9)


def test_the_chances_of_all_tokens_after_a_context_sum_to_1():
    model = build(corpus(), 3)
    for before in itertools.product(range(VOCAB), repeat=2):
        given = np.array(before)
        chances = [model.log_probabilities(np.array([w]), given)[0] for w in range(VOCAB)]
        assert np.exp(chances).sum() == pytest.approx(1.0, abs=1e-9)


def test_a_text_after_a_context_is_the_end_of_both_together():
    model, text = build(corpus(), 4), corpus(3, 1)[0]
    both = model.log_probabilities(np.concatenate([text, text]))
    assert np.array_equal(model.log_probabilities(text, before=text), both[len(text) :])


def test_a_higher_order_predicts_its_own_text_better():
    texts = corpus()
    nats = [
        -sum(build(texts, order).log_probabilities(text).sum() for text in texts)
        for order in (1, 2, 4)
    ]
    assert nats[0] > nats[1] > nats[2]
