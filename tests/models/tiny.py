"""A tiny model of every architecture, and batches for them.

`build` gives each builder what it asks for out of one table, so that a new architecture takes part
in the tests of this folder as soon as its file is there.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import registry
from pretrain_jax.layers.stacks import Execution

SIZES = {
    "vocab_size": 61,
    "layers": 3,
    "width": 32,
    "heads": 4,
    "head_width": 4,  # where a builder takes it, heads x head_width is not the width
    "feed_forward": 64,
    "max_length": 16,
    "dropout": 0.0,
}
LENGTH = 16
NAMES = registry.names("models")


def module_of(name: str) -> Any:
    return registry.load("models", name, "model.name")


DECODERS = [
    name
    for name in NAMES
    if "causal" in module_of(name).ATTENTION and not getattr(module_of(name), "NEEDS", ())
]
PREFIX_DECODERS = [name for name in NAMES if "prefix" in module_of(name).ATTENTION]


def build(name: str, execution: Execution | None = None, **changes: Any) -> nn.Module:
    module = module_of(name)
    taken = registry.options(module.build)
    sizes = {key: value for key, value in SIZES.items() if key in taken} | changes
    return module.build(execution or Execution(module.ATTENTION[0]), **sizes)


def pack(rows: list[list[int]], length: int = LENGTH, **more: Any) -> dict[str, jax.Array]:
    """Rows of examples with these lengths, padding behind; the tokens of a row all differ.

    The memory, for models that read one, has the same examples.
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
    """Parameters in boxes that carry the names of their axes."""
    batch = pack([[LENGTH]])
    return jax.jit(lambda key: model.init(key, batch, False)["params"])(jax.random.key(seed))


def init(model: nn.Module, seed: int = 0) -> Any:
    return nn.meta.unbox(init_boxed(model, seed))


@functools.cache
def hidden(model: nn.Module) -> Any:
    """params, batch -> hidden states, compiled once for each model and shape."""
    apply: Any = model.apply
    return jax.jit(lambda params, batch: apply({"params": params}, batch, False).hidden)


def randomise(params: Any, seed: int = 0) -> Any:
    """Parameters large enough for every part to matter, biases and gains too."""
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    drawn = [jnp.asarray(leaf + rng.normal(0, 0.2, leaf.shape), jnp.float32) for leaf in leaves]
    return jax.tree.unflatten(structure, drawn)


def named(tree: Any) -> dict[str, Any]:
    """Leaves by their '/'-joined names."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    keystr = jax.tree_util.keystr
    return {keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
