"""Losses as sums with their weights, never means: means of means are wrong as soon as padding
differs between microbatches or devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from pretrain_jax.batch import is_text
from pretrain_jax.cross_entropy import cross_entropy

Sums = dict[str, tuple[jax.Array, jax.Array]]
"""(sum, weight) by name."""
MAX_LOGITS = 1 << 28
"""Logits alive at once on a device, 1 GiB in float32; more are read out in chunks."""


def nll_and_hits(output: Any, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Nats float32 [B, P], and bool [B, P]: whether the likeliest token is the target, the first of
    equals. From one reading of the vocabulary.

    output: hidden [B, P, D] with a read-out; targets int32 [B, P].
    """

    def score(logits: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
        return cross_entropy(logits, wanted)[0], jnp.argmax(logits, axis=-1) == wanted

    return in_chunks(score, output, targets)


def nll_and_sample(
    output: Any, targets: jax.Array, rng: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Nats and log Z of the softmax, float32 [B, P], and int32 [B, P] drawn from the same logits at
    temperature 1: whole numbers, so that no gradient flows through them."""
    rows, length = targets.shape
    places = jnp.arange(rows * length).reshape(rows, length)

    def score(logits: jax.Array, values: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        wanted, place = values
        # A key for each place, so that what is drawn does not depend on how P is cut.
        keys = jax.vmap(lambda p: jax.random.fold_in(rng, p))(place)
        drawn = jax.vmap(jax.random.categorical)(keys, logits)
        return *cross_entropy(logits, wanted), drawn.astype(jnp.int32)

    return in_chunks(score, output, (targets, places))


def in_chunks(function: Callable[..., Any], output: Any, values: Any) -> Any:
    """function(logits [N, V], values [N]) -> arrays [N], over all N = B x P places.

    values: an array [B, P], or a tree of them. Returns arrays [B, P]. The logits are float32
    whatever the compute dtype; beyond the true vocabulary they are -inf. Where they are large they
    are made, used and made again in a backward pass, a slice of P at a time.
    """
    hidden, readout = output.hidden, output.readout
    chunks = chunks_of(output)

    def part(of_hidden: jax.Array, of_values: Any) -> Any:
        flat = read_out(of_hidden.reshape(-1, of_hidden.shape[-1]), readout)
        found = function(flat, jax.tree.map(lambda x: x.reshape(-1), of_values))
        return jax.tree.map(lambda x: x.reshape(of_hidden.shape[:2]), found)

    if chunks == 1:
        return part(hidden, values)
    body = jax.checkpoint(lambda pair: part(*pair))
    parts = jax.tree.map(lambda x: split(x, chunks), (hidden, values))
    return jax.tree.map(lambda x: joined(x, hidden.shape[1]), jax.lax.map(body, parts))


def chunks_of(output: Any) -> int:
    """Into how many parts P is cut, so that at most MAX_LOGITS logits are alive on a device."""
    rows, length = output.hidden.shape[:2]
    logits = rows * length * output.readout.table.shape[0] // output.readout.shards
    each = -(-length // min(-(-logits // MAX_LOGITS), length))
    return -(-length // each)


def split(x: jax.Array, chunks: int) -> jax.Array:
    """[B, P, ...] -> [chunks, B, P / chunks, ...], with zeros behind P where it does not divide."""
    rows, length = x.shape[:2]
    each = -(-length // chunks)
    whole = jnp.pad(x, ((0, 0), (0, chunks * each - length), *((0, 0),) * (x.ndim - 2)))
    return jnp.moveaxis(whole.reshape(rows, chunks, each, *x.shape[2:]), 1, 0)


def joined(parts: jax.Array, length: int) -> jax.Array:
    """What `split` made, as it was: [B, P, ...]."""
    whole = jnp.moveaxis(parts, 0, 1)
    return whole.reshape(len(whole), -1, *parts.shape[3:])[:, :length]


def read_out(hidden: jax.Array, readout: Any, low: jax.Array | None = None) -> jax.Array:
    """Logits float32 [N, V padded] of hidden states [N, D]; -inf beyond the true vocabulary.

    low: the table in the dtype of `hidden`, where many chunks share it.
    """
    low = readout.table.astype(hidden.dtype) if low is None else low
    logits = product(hidden * readout.scale, readout.table, low)
    if readout.bias is not None:
        logits = logits + readout.bias
    return jnp.where(jnp.arange(logits.shape[-1]) < readout.vocab_size, logits, -jnp.inf)


@jax.custom_vjp
def product(hidden: jax.Array, table: jax.Array, low: jax.Array) -> jax.Array:
    """hidden [N, D] x table [V, D]' in the dtype of `hidden`, summed up in float32: [N, V].

    So are its gradients; derived by jax they would be products in float32. `low` is the table in
    that dtype; the gradient is that of `table`, in its own.
    """
    return jnp.matmul(hidden, low.T, preferred_element_type=jnp.float32)


def _product_backward(saved, d_logits):
    hidden, low = saved
    d_logits = d_logits.astype(hidden.dtype)
    d_table = jnp.matmul(d_logits.T, hidden, preferred_element_type=jnp.float32)
    return d_logits @ low, d_table, None


product.defvjp(
    lambda hidden, table, low: (product(hidden, table, low), (hidden, low)), _product_backward
)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def weighted_sums(
    hidden: jax.Array, readout: Any, targets: jax.Array, weights: jax.Array, chunks: int
) -> tuple[jax.Array, jax.Array]:
    """Sums of weights x nats, and of weights x (log Z)^2, over all places [B, P].

    P is read out in chunks. The gradients of a chunk are formed while its logits are there, so
    that nothing is read out again: they are those of the first sum + readout.z_loss x the second,
    and go with the first; the second has none of its own.
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
    """What is minimised, and the two sums of `weighted_sums`, of one chunk; see `read_out`."""
    logits = read_out(hidden.reshape(-1, hidden.shape[-1]), readout, low)
    nll, log_z = cross_entropy(logits, targets.reshape(-1))
    loss, z_loss = nll_sums(nll, log_z, weights.reshape(-1))
    return loss + readout.z_loss * z_loss, (loss, z_loss)


def nll_sums(nll: jax.Array, log_z: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of weights x nats, and of weights x (log Z)^2."""
    return jnp.sum(nll * weights), jnp.sum(jnp.square(log_z) * weights)


def _weighted_sums_forward(hidden, readout, targets, weights, chunks):
    gradient = jax.value_and_grad(chunk_sums, (0, 1), has_aux=True)
    low = readout.table.astype(hidden.dtype)  # once, not for each chunk

    def step(total, part):
        (_, sums), (d_hidden, d_readout) = gradient(part[0], readout, *part[1:], low)
        return jax.tree.map(jnp.add, total, (sums, d_readout)), d_hidden

    nothing = ((jnp.float32(0), jnp.float32(0)), jax.tree.map(jnp.zeros_like, readout))
    parts = [split(x, chunks) for x in (hidden, targets, weights)]
    (sums, d_readout), d_hidden = jax.lax.scan(step, nothing, parts)
    return sums, (joined(d_hidden, hidden.shape[1]), d_readout)


def _weighted_sums_backward(chunks, saved, d_sums):
    scaled = lambda x: (d_sums[0] * x).astype(x.dtype)  # noqa: E731
    return *jax.tree.map(scaled, saved), None, None


weighted_sums.defvjp(_weighted_sums_forward, _weighted_sums_backward)


def token_loss(
    apply: Callable[..., Any], params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> Sums:
    """Weighted cross entropy, and z-loss (log Z)^2, which keeps the logits from drifting.

    The z-loss takes part with the coefficient `train.z_loss` (PaLM section 5, 1e-4).
    """
    return token_terms(apply(params, batch, rng, train), batch)


def token_terms(output: Any, batch: dict[str, jax.Array]) -> Sums:
    """`token_loss` of a model's output."""
    targets, weights = batch["targets"], batch["weights"]
    sums: Any = weighted_sums(output.hidden, output.readout, targets, weights, chunks_of(output))
    loss, z_loss = sums
    return terms(loss, z_loss, weights)


def nll_terms(nll: jax.Array, log_z: jax.Array, weights: jax.Array) -> Sums:
    """`token_loss` of nats and log Z, each [B, P]."""
    return terms(*nll_sums(nll, log_z, weights), weights)


def terms(loss: jax.Array, z_loss: jax.Array, weights: jax.Array) -> Sums:
    """Two sums by name, each with the weight that they are of."""
    total = jnp.sum(weights)
    return {"loss": (loss, total), "z_loss": (z_loss, total)}


def token_metrics(
    apply: Callable[..., Any],
    params: Any,
    batch: dict[str, jax.Array],
    rng: Any,
    special: jax.Array,
) -> Sums:
    """Of an evaluation batch: "text", the nats of the predicted text tokens, and their "accuracy".

    special: bool [V], targets that no score counts. Both have the number of text targets as weight.
    """
    return text_metrics(apply(params, batch, rng, False), batch, special)


def text_metrics(output: Any, batch: dict[str, jax.Array], special: jax.Array) -> Sums:
    """`token_metrics` of a model's output."""
    return text_sums(*nll_and_hits(output, batch["targets"]), is_text(batch, special))


def text_sums(nll: jax.Array, hits: jax.Array, text: jax.Array) -> Sums:
    """`token_metrics` of what `nll_and_hits` returns; text: bool [B, P], `batch.is_text`."""
    count = jnp.sum(text).astype(jnp.float32)
    return {
        "text": (jnp.sum(jnp.where(text, nll, 0.0)), count),
        "accuracy": (jnp.sum(hits & text).astype(jnp.float32), count),
    }
