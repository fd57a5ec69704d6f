"""LoRA (Hu et al. 2022): a linear map x W becomes x W + (alpha / rank) (x A) B.

A [inputs, rank] starts from peft's distribution, uniform in +-1/sqrt(inputs); B [rank, outputs]
starts as zeros, so that the adapted model starts as the base. The paper draws A from a normal
distribution and adapts queries and values.
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.adapters._base import Adapter, Params
from pretrain_jax.layers.axes import with_axes
from pretrain_jax.layers.dense import Dense, project
from pretrain_jax.layers.factories import Factory, factory
from pretrain_jax.registry import Range

IN, OUT = "lora_in", "lora_out"


class LoraDense(Dense):
    """`Dense`, with a product of two narrow matrices if its name is in `targets`."""

    rank: int = 0
    scale: float = 0.0
    targets: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = super().__call__(x)
        if self.name not in self.targets:
            return y
        count = len(self.inputs)
        first = with_axes(uniform_inputs, *self.axes[:count], "hidden")
        second = with_axes(nn.initializers.zeros, "hidden", *self.axes[count:])
        a = self.param(IN, first, (*self.inputs, self.rank), jnp.float32)
        b = self.param(OUT, second, (self.rank, *self.outputs), jnp.float32)
        narrow = project(x, a, None, count, self.dtype)
        return y + self.scale * project(narrow, b, None, 1, self.dtype)


def uniform_inputs(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """[*inputs, rank], uniform in +-1/sqrt(inputs): +-0.036 for 768 inputs."""
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def build(
    *,
    rank: Annotated[int, Range(1)] = 8,
    alpha: Annotated[float, Range(1e-6, 1e6)] = 16.0,
    targets: tuple[str, ...] = ("query", "value"),
    train: tuple[str, ...] = (),
) -> Adapter:
    """Adds rank x (inputs + outputs) parameters to each map: 294,912 to GPT-2 of 124 M at rank 8.

    rank: columns of A and rows of B
    alpha: the product is multiplied by alpha / rank
    targets: linear maps to adapt, by name: "query", "key", "value", "out" of attention; "up",
        "gate", "down" of the feed-forward layer
    """
    scale = alpha / rank
    return Adapter(
        change=Change(rank, scale, targets),
        own=frozenset({IN, OUT}),
        targets=targets,
        train=train,
        merge=partial(merge, scale=scale),
    )


@dataclasses.dataclass(frozen=True)
class Change:
    """Replaces every linear map of the model by one that knows LoRA."""

    rank: int
    scale: float
    targets: tuple[str, ...]

    def __call__(self, made: Factory) -> Factory:
        if made.module is not Dense:
            return made
        more = {"rank": self.rank, "scale": self.scale, "targets": self.targets}
        return factory(LoraDense, **{**dict(made.arguments), **more})


def merge(params: Params, scale: float) -> Params:
    """{"kernel": W, "lora_in": A, "lora_out": B} becomes {"kernel": W + scale A B}, everywhere."""
    merged = {
        name: merge(part, scale) if isinstance(part, Mapping) else part
        for name, part in params.items()
        if name not in (IN, OUT)
    }
    if IN in params:
        merged["kernel"] = add_product(params["kernel"], params[IN], params[OUT], scale)
    return merged


def add_product(kernel: jax.Array, a: jax.Array, b: jax.Array, scale: float) -> jax.Array:
    """kernel [*inputs, *outputs] + scale x a [*inputs, rank] b [rank, *outputs]; stacked layers
    have one more axis in front."""
    stacked = a.shape[: a.ndim + b.ndim - kernel.ndim - 2]
    flat_a, flat_b = a.reshape(*stacked, -1, a.shape[-1]), b.reshape(*stacked, a.shape[-1], -1)
    product = jnp.matmul(flat_a, flat_b, precision=jax.lax.Precision.HIGHEST)
    return kernel + scale * product.reshape(kernel.shape)
