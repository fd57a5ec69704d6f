"""Nats of every target by itself, for tests that weigh them in their own way."""

from typing import Any

import jax

from pretrain_jax import losses
from pretrain_jax.cross_entropy import cross_entropy


def token_nll(output: Any, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """-log p of targets int32 [B, P], and log Z: float32 [B, P], each with a gradient."""
    return losses.map_logits(cross_entropy, output, targets)
