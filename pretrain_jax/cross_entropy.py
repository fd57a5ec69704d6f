"""From logits to nats, with a gradient that is written by hand."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def cross_entropy(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """-log softmax(logits)[target] and log Z, float32 [N], of logits [N, V] and int targets [N].

    Its gradient is written by hand: it uses the exponentials of the forward pass again.
    """
    return _cross_entropy(logits, targets)[0]


def _cross_entropy(logits, targets):
    sums = jax.lax.platform_dependent(logits, targets, cuda=in_one_pass, default=in_two_passes)
    exponentials, top, z, wanted = sums
    log_z = (jnp.log(z) + top)[:, 0]
    return (log_z - wanted, log_z), (exponentials, z, targets)


def in_two_passes(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, ...]:
    """exp(logits - top) [N, V], top and the sum of those [N, 1], the target's logit [N]."""
    top = jnp.max(logits, axis=-1, keepdims=True)
    exponentials = jnp.exp(logits - top)
    z = jnp.sum(exponentials, axis=-1, keepdims=True)
    return exponentials, top, z, jnp.sum(of_target(logits, targets), axis=-1)


def in_one_pass(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, ...]:
    """The same, but that logits are read once for all three: for GPUs, where they are too many for
    any cache. The exponentials are for whoever wants them, who will make them where he is."""

    def merge(one, other):
        (top, z, target), (other_top, other_z, other_target) = one, other
        # Of two equal tops, both -inf perhaps, neither is scaled down.
        small = jnp.exp(-jnp.where(top == other_top, 0.0, jnp.abs(top - other_top)))
        larger = top >= other_top
        z, other_z = jnp.where(larger, z, z * small), jnp.where(larger, other_z * small, other_z)
        return jnp.maximum(top, other_top), z + other_z, target + other_target

    each = (logits, jnp.ones_like(logits), of_target(logits, targets))
    top, z, target = jax.lax.reduce(each, (-jnp.inf, 0.0, 0.0), merge, (1,))
    return jnp.exp(logits - top[:, None]), top[:, None], z[:, None], target


def _cross_entropy_backward(saved, gradients):
    exponentials, z, targets = saved
    d_nll, d_log_z = (g[:, None] for g in gradients)
    d_logits = exponentials * ((d_nll + d_log_z) / z)
    return jnp.where(is_target(targets, exponentials), d_logits - d_nll, d_logits), None


cross_entropy.defvjp(_cross_entropy, _cross_entropy_backward)


def of_target(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """[N, V]: the target's logit, and 0 for all others.

    To be summed up, instead of a gather: the gradient is no scatter, and a vocabulary that is split
    over a mesh needs no exchange of logits.
    """
    return jnp.where(is_target(targets, logits), logits, 0.0)


def is_target(targets: jax.Array, logits: jax.Array) -> jax.Array:
    """bool [N, V]: one true entry in each row."""
    return targets[:, None] == jnp.arange(logits.shape[-1])
