"""Losses as sums with their weights, never as means.

A mean of means is wrong as soon as padding differs between microbatches or devices.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from pretrain_jax.batch import is_text
from pretrain_jax.cross_entropy import cross_entropy
from pretrain_jax.rounding import ceil_div

Sums = dict[str, tuple[jax.Array, jax.Array]]
"""(sum, weight) by name."""
MAX_LOGITS = 1 << 28
"""Maximum number of logits in the memory of a device at once: 1 GiB in float32. If there are more,
they are computed in chunks."""


def nll_and_hits(output: Any, targets: jax.Array, most: int = 0) -> tuple[jax.Array, jax.Array]:
    """Cross entropy in nats, float32 [B, P], and whether the likeliest token is the target, bool
    [B, P]. Among equal logits the first counts. Both come from one pass over the vocabulary.

    output: hidden states [B, P, D] with an output projection; targets int32 [B, P]. most: logits in
    memory at once; 0 = MAX_LOGITS.
    """

    def score(logits: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
        return cross_entropy(logits, wanted)[0], jnp.argmax(logits, axis=-1) == wanted

    return map_logits(score, output, targets, most)


def nll_and_sample(
    output: Any, targets: jax.Array, rng: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Nats and log Z of the softmax, float32 [B, P], and tokens int32 [B, P] sampled from the same
    logits at temperature 1. The samples are integers, so no gradient flows through them."""
    rows, length = targets.shape
    positions = jnp.arange(rows * length).reshape(rows, length)

    def score(logits: jax.Array, values: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        wanted, position = values
        # One key per position, so that the samples do not depend on how P is cut into chunks.
        keys = jax.vmap(lambda p: jax.random.fold_in(rng, p))(position)
        sample = jax.vmap(jax.random.categorical)(keys, logits)
        return *cross_entropy(logits, wanted), sample.astype(jnp.int32)

    return map_logits(score, output, (targets, positions))


def map_logits(function: Callable[..., Any], output: Any, values: Any, most: int = 0) -> Any:
    """Applies function(logits [N, V], values [N]) -> arrays [N] to all N = B x P positions.

    values: an array [B, P] or [B, P, D], or a tree of them. Returns arrays [B, P]. The logits are
    float32 whatever the compute dtype, and -inf beyond the true vocabulary. Large logits are
    computed one slice of P at a time, at most `most` of them, and computed again in the backward
    pass.
    """
    hidden, readout = output.hidden, output.readout
    chunks = count_chunks(output, most)

    def apply(hidden_chunk: jax.Array, values_chunk: Any) -> Any:
        logits = compute_logits(hidden_chunk.reshape(-1, hidden_chunk.shape[-1]), readout)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), values_chunk)
        results = function(logits, flat)
        return jax.tree.map(lambda x: x.reshape(hidden_chunk.shape[:2]), results)

    if chunks == 1:
        return apply(hidden, values)
    body = jax.checkpoint(lambda pair: apply(*pair))
    parts = jax.tree.map(lambda x: split(x, chunks), (hidden, values))
    return jax.tree.map(lambda x: unsplit(x, hidden.shape[1]), jax.lax.map(body, parts))


def count_chunks(output: Any, most: int = 0) -> int:
    """The number of chunks of P that keeps at most `most` logits alive on a device."""
    rows, length = output.hidden.shape[:2]
    logits = rows * length * output.readout.table.shape[0] // output.readout.shards
    size = ceil_div(length, min(ceil_div(logits, most or MAX_LOGITS), length))
    return ceil_div(length, size)


def split(x: jax.Array, chunks: int) -> jax.Array:
    """[B, P, ...] -> [chunks, B, P / chunks, ...]; zeros pad a P that does not divide."""
    rows, length = x.shape[:2]
    size = ceil_div(length, chunks)
    padded = jnp.pad(x, ((0, 0), (0, chunks * size - length), *((0, 0),) * (x.ndim - 2)))
    return jnp.moveaxis(padded.reshape(rows, chunks, size, *x.shape[2:]), 1, 0)


def unsplit(parts: jax.Array, length: int) -> jax.Array:
    """The inverse of `split`: [chunks, B, P / chunks, ...] -> [B, P, ...]."""
    rows = jnp.moveaxis(parts, 0, 1)
    return rows.reshape(len(rows), -1, *parts.shape[3:])[:, :length]


def compute_logits(hidden: jax.Array, readout: Any, low: jax.Array | None = None) -> jax.Array:
    """Logits float32 [N, V padded] of hidden states [N, D]; -inf beyond the true vocabulary.

    low: the table in the dtype of `hidden`, where many chunks share one cast.
    """
    low = readout.table.astype(hidden.dtype) if low is None else low
    logits = matmul_float32(hidden * readout.scale, readout.table, low)
    if readout.bias is not None:
        logits = logits + readout.bias
    return jnp.where(jnp.arange(logits.shape[-1]) < readout.vocab_size, logits, -jnp.inf)


def output_logits(output: Any) -> jax.Array:
    """Logits float32 [B, P, V] of a model's output, without chunks: for few positions."""
    hidden, readout = output.hidden, output.readout
    flat = compute_logits(hidden.reshape(-1, hidden.shape[-1]), readout)
    return flat.reshape(*hidden.shape[:2], -1)[..., : readout.vocab_size]


@jax.custom_vjp
def matmul_float32(hidden: jax.Array, table: jax.Array, low: jax.Array) -> jax.Array:
    """hidden [N, D] x table [V, D]' in the dtype of `hidden`, accumulated in float32: [N, V].

    Its gradients are computed in the same way; the ones that jax derives would be products in
    float32. `low` is the table in the dtype of `hidden`. The gradient goes to `table`, in the dtype
    of `table`.
    """
    return jnp.matmul(hidden, low.T, preferred_element_type=jnp.float32)


def _matmul_backward(saved, d_logits):
    hidden, low = saved
    d_logits = d_logits.astype(hidden.dtype)
    d_table = jnp.matmul(d_logits.T, hidden, preferred_element_type=jnp.float32)
    return d_logits @ low, d_table, None


matmul_float32.defvjp(
    lambda hidden, table, low: (matmul_float32(hidden, table, low), (hidden, low)),
    _matmul_backward,
)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def weighted_sums(
    hidden: jax.Array, readout: Any, targets: jax.Array, weights: jax.Array, chunks: int
) -> tuple[jax.Array, jax.Array]:
    """Sums of weights x nats, and of weights x (log Z)^2, over all positions [B, P].

    The logits are computed in chunks of P. Each chunk forms its gradients while its logits exist,
    so no logits are computed twice. These are the gradients of first sum + readout.z_loss x second
    sum. They belong to the first sum; the second sum has no gradient of its own.
    """
    parts = [split(x, chunks) for x in (hidden, targets, weights)]
    _, sums = jax.lax.map(lambda part: chunk_sums(part[0], readout, *part[1:]), parts)
    return jax.tree.map(jnp.sum, sums)


def chunk_sums(
    hidden: jax.Array,
    readout: Any,
    targets: jax.Array,
    weights: jax.Array,
    low: jax.Array | None = None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The value to minimise and the two sums of `weighted_sums`, for one chunk.

    low: see `compute_logits`.
    """
    logits = compute_logits(hidden.reshape(-1, hidden.shape[-1]), readout, low)
    nll, log_z = cross_entropy(logits, targets.reshape(-1))
    loss, z_loss = nll_sums(nll, log_z, weights.reshape(-1))
    return loss + readout.z_loss * z_loss, (loss, z_loss)


def nll_sums(nll: jax.Array, log_z: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of weights x nats, and of weights x (log Z)^2."""
    return jnp.sum(nll * weights), jnp.sum(jnp.square(log_z) * weights)


def _weighted_sums_forward(hidden, readout, targets, weights, chunks):
    gradient = jax.value_and_grad(chunk_sums, (0, 1), has_aux=True)
    low = readout.table.astype(hidden.dtype)  # once, not once per chunk

    def step(total, part):
        (_, sums), (d_hidden, d_readout) = gradient(part[0], readout, *part[1:], low)
        return jax.tree.map(jnp.add, total, (sums, d_readout)), d_hidden

    zeros = ((jnp.float32(0), jnp.float32(0)), jax.tree.map(jnp.zeros_like, readout))
    parts = [split(x, chunks) for x in (hidden, targets, weights)]
    (sums, d_readout), d_hidden = jax.lax.scan(step, zeros, parts)
    return sums, (unsplit(d_hidden, hidden.shape[1]), d_readout)


def _weighted_sums_backward(chunks, saved, d_sums):
    scaled = lambda x: (d_sums[0] * x).astype(x.dtype)  # noqa: E731
    return *jax.tree.map(scaled, saved), None, None


weighted_sums.defvjp(_weighted_sums_forward, _weighted_sums_backward)


def class_nll(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits)[label] in nats, [...], of logits [..., classes] and int labels [...].

    For few classes; `nll_and_hits` is for a vocabulary.
    """
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]


def token_loss(
    apply: Callable[..., Any], params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> Sums:
    """Weighted cross entropy, and the z-loss (log Z)^2, which keeps the logits from drifting.

    The coefficient of the z-loss is `train.z_loss` (PaLM section 5: 1e-4).
    """
    return token_terms(apply(params, batch, rng, train), batch)


def token_terms(output: Any, batch: dict[str, jax.Array]) -> Sums:
    """`token_loss` of a model's output."""
    targets, weights = batch["targets"], batch["weights"]
    chunks = count_chunks(output)
    sums: Any = weighted_sums(output.hidden, output.readout, targets, weights, chunks)
    loss, z_loss = sums
    return _loss_terms(loss, z_loss, weights)


def nll_terms(nll: jax.Array, log_z: jax.Array, weights: jax.Array) -> Sums:
    """`token_loss` of nats and log Z, each [B, P]."""
    return _loss_terms(*nll_sums(nll, log_z, weights), weights)


def _loss_terms(loss: jax.Array, z_loss: jax.Array, weights: jax.Array) -> Sums:
    """The two sums by name, each with the total weight."""
    total = jnp.sum(weights)
    return {"loss": (loss, total), "z_loss": (z_loss, total)}


def token_metrics(
    apply: Callable[..., Any],
    params: Any,
    batch: dict[str, jax.Array],
    rng: Any,
    special: jax.Array,
) -> Sums:
    """Metrics of an evaluation batch: "text", the nats of the predicted text tokens, and their
    "accuracy". The weight of both is the number of text targets.

    special: bool [V], the ids that no metric counts.
    """
    return text_metrics(apply(params, batch, rng, False), batch, special)


def text_metrics(output: Any, batch: dict[str, jax.Array], special: jax.Array) -> Sums:
    """`token_metrics` of a model's output."""
    return text_sums(*nll_and_hits(output, batch["targets"]), is_text(batch, special))


def text_sums(nll: jax.Array, hits: jax.Array, text: jax.Array) -> Sums:
    """`token_metrics` from nats, hits and text, each [B, P] (`nll_and_hits`, `batch.is_text`)."""
    count = jnp.sum(text).astype(jnp.float32)
    return {
        "text": (jnp.sum(jnp.where(text, nll, 0.0)), count),
        "accuracy": (jnp.sum(hits & text).astype(jnp.float32), count),
    }
