"""Losses as sums with their weights, never means: means of means are wrong as soon as padding
differs between microbatches or devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

MAX_LOGITS = 1 << 28
"""Logits alive at once on a device, 1 GiB in float32; more are read out in chunks."""


def token_nll(output: Any, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Negative log likelihood in nats, unreduced, and log Z of the softmax, both float32.

    output: hidden [B, P, D] with a read-out; targets int32 [B, P]. Returns ([B, P], [B, P]). The
    logits are float32 whatever the compute dtype; rows of the vocabulary beyond the true size
    have probability 0. The [B, P, V] logits never exist as a whole when they are large: they are
    made, used and made again in the backward pass, a slice of P at a time.
    """
    hidden, readout = output.hidden, output.readout
    rows, length = targets.shape
    logits = rows * length * readout.table.shape[0] // readout.shards
    chunks = min(-(-logits // MAX_LOGITS), length)
    while length % chunks:
        chunks += 1
    if chunks == 1:
        return _nll(hidden, readout, targets)

    def split(x):
        return jnp.moveaxis(x.reshape(rows, chunks, length // chunks, *x.shape[2:]), 1, 0)

    body = jax.checkpoint(lambda part: _nll(part[0], readout, part[1]))

    def join(x):
        return jnp.moveaxis(x, 0, 1).reshape(rows, length)

    nll, log_z = jax.lax.map(body, (split(hidden), split(targets)))
    return join(nll), join(log_z)


def _nll(hidden: jax.Array, readout: Any, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    logits = read_out(hidden.reshape(-1, hidden.shape[-1]), readout)
    nll, log_z = cross_entropy(logits, targets.reshape(-1))
    return nll.reshape(targets.shape), log_z.reshape(targets.shape)


@jax.custom_vjp
def cross_entropy(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """-log softmax(logits)[target] and log Z, float32 [N], of logits [N, V] and int targets [N].

    Its gradient is written by hand: it uses the exponentials of the forward pass again.
    """
    return _cross_entropy(logits, targets)[0]


def _cross_entropy(logits, targets):
    top = jnp.max(logits, axis=-1, keepdims=True)
    exponentials = jnp.exp(logits - top)
    z = jnp.sum(exponentials, axis=-1, keepdims=True)
    log_z = (jnp.log(z) + top)[:, 0]
    # A masked sum instead of a gather: its gradient is no scatter, and a vocabulary that is split
    # over a mesh needs no exchange of logits.
    of_target = jnp.sum(jnp.where(is_target(targets, logits), logits, 0.0), axis=-1)
    return (log_z - of_target, log_z), (exponentials, z, targets)


def _cross_entropy_backward(saved, gradients):
    exponentials, z, targets = saved
    d_nll, d_log_z = (g[:, None] for g in gradients)
    d_logits = exponentials * ((d_nll + d_log_z) / z)
    return jnp.where(is_target(targets, exponentials), d_logits - d_nll, d_logits), None


cross_entropy.defvjp(_cross_entropy, _cross_entropy_backward)


def is_target(targets: jax.Array, logits: jax.Array) -> jax.Array:
    """bool [N, V]: one true entry in each row."""
    return targets[:, None] == jnp.arange(logits.shape[-1])


def read_out(hidden: jax.Array, readout: Any) -> jax.Array:
    """Logits float32 [N, V padded] of hidden states [N, D]; -inf beyond the true vocabulary."""
    table = readout.table.astype(hidden.dtype)
    logits = jnp.matmul(hidden * readout.scale, table.T, preferred_element_type=jnp.float32)
    if readout.bias is not None:
        logits = logits + readout.bias
    return jnp.where(jnp.arange(logits.shape[-1]) < readout.vocab_size, logits, -jnp.inf)


def token_loss(
    apply: Callable[..., Any], params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Weighted cross entropy, and z-loss (log Z)^2, which keeps the logits from drifting.

    The z-loss takes part with the coefficient `train.z_loss` (PaLM section 5, 1e-4).
    """
    nll, log_z = token_nll(apply(params, batch, rng, train), batch["targets"])
    weights = batch["weights"]
    total = jnp.sum(weights)
    return {
        "loss": (jnp.sum(nll * weights), total),
        "z_loss": (jnp.sum(jnp.square(log_z) * weights), total),
    }
