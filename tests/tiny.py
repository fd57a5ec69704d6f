"""A tiny model of every architecture, and batches for them.

`build` selects the options of each builder from one table, so that the tests of this folder include
a new architecture as soon as its file exists.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import registry
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import _base

SIZES = {
    "vocab_size": 61,
    "layers": 3,
    "width": 32,
    "heads": 4,
    "kv_heads": 2,
    "head_width": 4,  # so heads x head_width differs from the width for builders with this option
    "feed_forward": 64,
    "max_length": 16,
    "dropout": 0.0,
}
LENGTH = 16
NAMES = registry.names("models")


def architecture(name: str) -> _base.Architecture:
    return _base.load(name)


DECODERS = [
    name
    for name in NAMES
    if "causal" in architecture(name).attention and not architecture(name).required_fields
]
PREFIX_DECODERS = [name for name in NAMES if "prefix" in architecture(name).attention]


def build(name: str, context: BuildContext | None = None, **changes: Any) -> nn.Module:
    chosen = architecture(name)
    sizes = registry.accepted_kwargs(chosen.build, SIZES) | changes
    return chosen.build(context or BuildContext(chosen.attention[0]), **sizes)


def pack(rows: list[list[int]], length: int = LENGTH, **more: Any) -> dict[str, jax.Array]:
    """Rows of examples with these lengths, then padding; all tokens of a row differ.

    The memory, for models that have one, contains the same examples.
    """
    segments = np.zeros((len(rows), length), np.int32)
    positions = np.zeros_like(segments)
    for row, lengths in enumerate(rows):
        at = 0
        for number, n in enumerate(lengths, start=1):
            segments[row, at : at + n] = number
            positions[row, at : at + n] = np.arange(n)
            at += n
    tokens = np.stack([np.arange(length) + 7 * row for row in range(len(rows))])
    stream = {"tokens": tokens, "segments": segments, "positions": positions}
    memory = {f"memory_{name}": field for name, field in stream.items()}
    fields = {**stream, **memory, **more}
    return {name: jnp.asarray(field) for name, field in fields.items()}


@functools.cache
def init_boxed(model: nn.Module, seed: int = 0) -> Any:
    """Parameters, boxed with the names of their axes."""
    batch = pack([[LENGTH]])
    return jax.jit(lambda key: model.init(key, batch, False)["params"])(jax.random.key(seed))


def init(model: nn.Module, seed: int = 0) -> Any:
    return nn.meta.unbox(init_boxed(model, seed))


def with_table(params: Any, change: Any) -> Any:
    """`params` with change(table) in place of the table of token embeddings [V, D]."""
    table = params.get("embedding", {}).get("tokens")
    assert table is not None, "a model's table of token embeddings must be embedding/tokens"
    return {**params, "embedding": {**params["embedding"], "tokens": change(table)}}


def table(params: Any) -> Any:
    """The table of token embeddings [V, D]."""
    return with_table(params, lambda table: table)["embedding"]["tokens"]


@functools.cache
def hidden(model: nn.Module) -> Any:
    """Returns params, batch -> hidden states, compiled once per model and shape."""
    apply: Any = model.apply
    return jax.jit(lambda params, batch: apply({"params": params}, batch, False).hidden)


def randomise(params: Any, seed: int = 0) -> Any:
    """Parameters large enough that every part matters, including biases and gains."""
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    drawn = [jnp.asarray(leaf + rng.normal(0, 0.2, leaf.shape), jnp.float32) for leaf in leaves]
    return jax.tree.unflatten(structure, drawn)


def random_params(model: nn.Module, seed: int = 0) -> Any:
    """`randomise` without initial values, which take seconds to compile."""
    shapes = jax.eval_shape(lambda key: model.init(key, pack([[LENGTH]]), False), jax.random.key(0))
    return randomise(
        jax.tree.map(lambda x: np.full(x.shape, 0.1), nn.meta.unbox(shapes["params"])), seed
    )


def named(tree: Any) -> dict[str, Any]:
    """Leaves by their '/'-joined names."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    keystr = jax.tree_util.keystr
    return {keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
