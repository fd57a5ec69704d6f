"""A vocabulary, raw examples and a model for the tests of this folder."""

import functools
from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import text_objectives
import tiny
from sequences import apart, together

from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.data import pack
from pretrain_jax.layers.embeddings import Readout
from pretrain_jax.layers.stacks import Output
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives.distill import TEACHER
from pretrain_jax.tokenizers import Tokenizer

WIDTH = 8


class Vocabulary(Tokenizer):
    """All special ids that there are, then 100 text tokens, then 33 sentinels."""

    size = 140
    pad, unk, bos, eos, mask, cls, sep = range(7)
    sentinels = tuple(range(139, 106, -1))
    fingerprint = "vocabulary"
    word_starts = np.arange(size) % 3 != 1  # type: ignore[assignment]  # two words in 3 tokens
    token_bytes = np.ones(size, np.int32)  # type: ignore[assignment]

    def encode(self, text):
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32) % 100 + 7

    def decode(self, ids):
        return " ".join(map(str, ids))

    def id_to_token(self, token):
        return str(token)


VOCAB = Vocabulary()


built = text_objectives.build


def text(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(7, 107, size=n).astype(np.int32)


def raw_example(how: Objective, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A raw example of `n` tokens in all as the objective's arrangement makes it, n >= 2."""
    if how.arrangement == "pairs":
        first = (n + 1) // 2
        parts = {"first": text(first, seed), "second": text(n - first, seed + 1000)}
        return {**parts, "is_next": np.array([seed % 2], np.int32)}
    if how.arrangement == "texts":
        inputs, targets = raw_size(how, n)
        return {"inputs": text(inputs, seed), "targets": text(targets, seed + 1000)}
    edges = {key: how.arrange(64)[key] for key in ("begin", "end")}
    ids = {key: [] if name is None else [getattr(VOCAB, name)] for key, name in edges.items()}
    inside = text(n - sum(map(len, ids.values())), seed).tolist()
    return {"tokens": np.array([*ids["begin"], *inside, *ids["end"]], np.int32)}


def raw_size(how: Objective, n: int) -> Any:
    """What `lengths` is asked for raw_example(how, n): n, or [inputs, targets] of texts."""
    return np.array([n, (n + 1) // 2]) if how.arrangement == "texts" else n


class Keyed:
    """Random numbers of each text by its key and the number of the call."""

    def __init__(self, keys: Iterable[int]):
        self.keys, self.call = list(keys), 0

    def __call__(self, sizes: np.ndarray) -> np.ndarray:
        self.call += 1
        drawn = zip(self.keys, sizes.tolist(), strict=True)
        return np.concatenate([np.random.default_rng([k, self.call]).random(n) for k, n in drawn])


def corrupt(how: Objective, raw: Any, rng: Any, vocab: Any = None) -> dict[str, np.ndarray]:
    """The fields of one raw example, alone in its batch."""
    return apart(how.corrupt(together([raw]), from_generator(rng), vocab or VOCAB))[0]


def corrupted(how: Objective, n: int, seed: int = 0, draw: int = 0) -> dict[str, np.ndarray]:
    return corrupt(how, raw_example(how, n, seed), np.random.default_rng(draw))


def corrupted_often(how: Objective, raw: Any, times: int, rng: Any) -> list[dict[str, np.ndarray]]:
    """The fields of `times` copies of a raw example."""
    return apart(how.corrupt(together([raw] * times), from_generator(rng), VOCAB))


def packed(how: Objective, rows: Any, n: int = 17) -> dict[str, jax.Array]:
    """A batch with room for two examples of `n` raw tokens in each row."""
    budgets = {axis: int(2 * bound) for axis, bound in how.lengths(raw_size(how, n)).items()}
    examples = [example for row in rows for example in row]
    batch = (
        pack.pack(together(examples), np.array([len(row) for row in rows]), budgets=budgets)
        if examples
        else pack.empty_batch(len(rows), how.fields, budgets)
    )
    return {field: jnp.asarray(value) for field, value in batch.items()}


def tied(table: jax.Array) -> Readout:
    return Readout(table, None, 1.0, VOCAB.size)


@functools.cache
def _first_params(heads: Any) -> Any:
    rng = np.random.default_rng(0)
    table = jnp.asarray(rng.normal(0, 1, (VOCAB.size, WIDTH)), jnp.float32)
    zeros = jnp.zeros((1, 1), jnp.int32)
    names = ("example_at", "left_at", "right_at", "span_positions")
    batch, hidden = dict.fromkeys(names, zeros), jnp.zeros((1, 1, WIDTH))
    params = {"table": table}
    for name, head in heads:
        boxed = head().init(jax.random.key(0), hidden, batch, tied(table), False)["params"]
        params[name] = nn.meta.unbox(boxed)
    return params


def params_of(how: Objective, scale: float = 1.0) -> Any:
    first = _first_params(how.heads)
    params = jax.tree.map(lambda x: x * scale, first)
    return {**params, TEACHER: {"table": first["table"][::-1]}} if how.teacher else params


def loss_function(how: Objective) -> Any:
    """`how.loss`, with a teacher that is a model like the student."""
    return functools.partial(how.loss, apply_of(how)) if how.teacher else how.loss


def apply_of(how: Objective) -> Any:
    """A model that sees nothing but each token's own row of a table, with the objective's heads."""

    def apply(params, batch, rng, train, method="__call__"):
        assert method in how.model_methods
        table = params["table"]
        hidden = table[batch["tokens"]]
        if method == "discriminate":
            return jnp.sum(hidden, axis=-1)
        heads = {
            name: head().apply({"params": params[name]}, hidden, batch, tied(table), train)
            for name, head in how.heads
        }
        if "predict_at" in batch:
            hidden = jnp.take_along_axis(hidden, batch["predict_at"][..., None], axis=1)
        return Output(hidden, tied(table), heads)

    return apply


def loss_of(how: Objective, batch: dict[str, jax.Array], scale: float = 1.0) -> Any:
    return loss_function(how)(apply_of(how), params_of(how, scale), batch, jax.random.key(0), True)


def metrics_of(how: Objective, batch: dict[str, jax.Array], scale: float = 1.0) -> Any:
    special = jnp.asarray(VOCAB.special)
    return how.metrics(apply_of(how), params_of(how, scale), batch, jax.random.key(0), special)


def random_params(module: nn.Module, batch: dict[str, jax.Array]) -> Any:
    """Random parameters of a model for the fields of a batch."""
    init = jax.jit(functools.partial(module.init, train=False))
    return tiny.randomise(init(jax.random.key(0), batch)["params"])


def assert_packing_changes_nothing(
    how: Objective, module: nn.Module, batches: list[dict[str, jax.Array]], count: int, atol: float
) -> None:
    """Loss, gradient and predictions of `count` examples are the same in two batches."""
    task = how.example_task
    assert task is not None
    apply = lambda p, b, rng, train: module.apply({"params": p}, b, train)  # noqa: E731

    def loss(params, batch):
        total, weight = how.loss(apply, params, batch, None, False)["loss"]
        return total / weight

    results = []
    for batch in batches:
        params = random_params(module, batch)
        value, grads = jax.jit(jax.value_and_grad(loss))(params, batch)
        made = jax.jit(functools.partial(task.predict, apply))(params, batch)
        rows = {k: np.asarray(v).reshape(count, -1) for k, v in made.items()}
        results.append((float(value), grads, rows))
    (one, grads, rows), (two, packed_grads, packed_rows) = results
    assert one == pytest.approx(two, rel=1e-5)
    for name, values in rows.items():
        np.testing.assert_allclose(values, packed_rows[name], atol=atol)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(packed_grads), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)
