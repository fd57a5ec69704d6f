"""Stacks: how many layers one iteration of the loop over layers has."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.masks import Mask
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.stacks import BuildContext, Stack


class Halve(nn.Module):
    @nn.compact
    def __call__(self, x, context):
        return x / 2


@pytest.mark.parametrize(
    ("layers", "unroll", "expected"),
    [(3, 1, 1), (6, 2, 2), (3, 8, 3), (3, 0, 3), (64, 0, 64), (65, 0, 1)],
)
def test_unroll(layers, unroll, expected):
    stack = Stack(
        layers=layers,
        sublayers=(("halve", factory(Halve)),),
        residual=PreNorm(factory(RMSNorm, epsilon=1e-6), factory(nn.Dropout, rate=0.0)),
        final_norm=None,
        build_context=BuildContext(unroll=unroll),
    )
    x, context = jnp.ones((1, 4, 2)), Context(Mask(jnp.ones((1, 4), int), None, "full"), False)
    variables = stack.init(jax.random.key(0), x, context)
    jaxpr = jax.make_jaxpr(lambda v: stack.apply(v, x, context))(nn.meta.unbox(variables))
    (loop,) = [e for e in jaxpr.jaxpr.eqns if e.primitive.name == "scan"]
    assert loop.params["length"] == layers
    assert loop.params["unroll"] == expected
