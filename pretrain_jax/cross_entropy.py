"""Cross entropy of logits, in nats, with a gradient written by hand."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def cross_entropy(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """-log softmax(logits)[target] and log Z, float32 [N], of logits [N, V] and int targets [N].

    The gradient is written by hand so that it reuses the exponentials of the forward pass.
    """
    return _cross_entropy(logits, targets)[0]


def _cross_entropy(logits, targets):
    sums = jax.lax.platform_dependent(logits, targets, cuda=in_one_pass, default=in_two_passes)
    exponentials, top, z, wanted = sums
    log_z = (jnp.log(z) + top)[:, 0]
    return (log_z - wanted, log_z), (exponentials, z, targets)


def in_two_passes(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, ...]:
    """exp(logits - top) [N, V]; top [N, 1], the largest logit; z [N, 1], the sum of the
    exponentials; the target's logit [N]."""
    top = jnp.max(logits, axis=-1, keepdims=True)
    exponentials = jnp.exp(logits - top)
    z = jnp.sum(exponentials, axis=-1, keepdims=True)
    return exponentials, top, z, jnp.sum(mask_to_target(logits, targets), axis=-1)


def in_one_pass(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, ...]:
    """The same values from a single read of the logits: for GPUs, where they fit no cache. XLA
    fuses the exponentials into the operations that use them."""

    def merge(one, other):
        (top, z, target), (other_top, other_z, other_target) = one, other
        # Two equal tops (both may be -inf) scale nothing; their difference could be NaN.
        small = jnp.exp(-jnp.where(top == other_top, 0.0, jnp.abs(top - other_top)))
        larger = top >= other_top
        z, other_z = jnp.where(larger, z, z * small), jnp.where(larger, other_z * small, other_z)
        return jnp.maximum(top, other_top), z + other_z, target + other_target

    operands = (logits, jnp.ones_like(logits), mask_to_target(logits, targets))
    top, z, target = jax.lax.reduce(operands, (-jnp.inf, 0.0, 0.0), merge, (1,))
    return jnp.exp(logits - top[:, None]), top[:, None], z[:, None], target


def _cross_entropy_backward(saved, gradients):
    exponentials, z, targets = saved
    d_nll, d_log_z = (g[:, None] for g in gradients)
    d_logits = exponentials * ((d_nll + d_log_z) / z)
    return jnp.where(is_target(targets, exponentials), d_logits - d_nll, d_logits), None


cross_entropy.defvjp(_cross_entropy, _cross_entropy_backward)


def mask_to_target(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """[N, V]: the target's logit in its column, 0 in all others.

    Summing this over V replaces a gather. Its gradient is not a scatter, and a vocabulary that is
    sharded over the mesh exchanges no logits.
    """
    return jnp.where(is_target(targets, logits), logits, 0.0)


def is_target(targets: jax.Array, logits: jax.Array) -> jax.Array:
    """bool [N, V]: true in the target's column, so once per row."""
    return targets[:, None] == jnp.arange(logits.shape[-1])
