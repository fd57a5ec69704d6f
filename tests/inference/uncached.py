"""What a model computes without a cache."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses


def log_probabilities(module: nn.Module, params: Any, rows: np.ndarray) -> np.ndarray:
    """float32 [B, L, V] of the token after each position of rows int [B, L]."""
    batch = {
        "tokens": jnp.asarray(rows, jnp.int32),
        "segments": jnp.ones(rows.shape, jnp.int32),
        "positions": jnp.broadcast_to(jnp.arange(rows.shape[1]), rows.shape),
    }
    output: Any = module.apply({"params": params}, batch, False)
    flat = output.hidden.reshape(-1, output.hidden.shape[-1])
    logits = losses.compute_logits(flat, output.readout)[:, : output.readout.vocab_size]
    return np.asarray(jax.nn.log_softmax(logits)).reshape(*rows.shape, -1)
