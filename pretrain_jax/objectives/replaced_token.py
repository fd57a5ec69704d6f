"""Replaced-token detection: a generator fills masked places, a discriminator finds what it changed.

ELECTRA (Clark et al. 2020, sections 2 and 3; google-research/electra run_pretraining.py and
pretrain_helpers.py). The generator is trained by masked language modeling; of the predicted tokens
85 % are replaced by [MASK] and 15 % left as they are. Its prediction is sampled at temperature 1
into every predicted place, without a gradient, and the discriminator says of every token, [CLS] and
[SEP] included, whether it was replaced; a sample that equals the original counts as original.

    loss           mean cross entropy of the generator
    discriminator  mean binary cross entropy over all tokens, times `weight`

Places are drawn without repetition; the released code draws with repetition and so predicts fewer.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pretrain_jax import losses
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective, masked_lm
from pretrain_jax.objectives.masked_lm import Masking


def build(*, rate: float = 0.15, replaced: float = 0.85, weight: float = 50.0) -> Objective:
    """The objective of ELECTRA.

    rate      0.25 in ELECTRA-Large
    replaced  share of the predicted tokens that the generator reads as [MASK]; the others it sees
    weight    of the discriminator's loss beside the generator's
    """
    if not weight > 0:
        raise ConfigError(
            "objective.weight, of the discriminator's loss, must be greater than 0; received "
            f"{weight}; ELECTRA's is 50"
        )
    how = Masking(rate, masked_lm.single_tokens, replaced, random=0.0)
    return Objective(
        **masked_lm.single_text(how),
        fields=masked_lm.FIELDS,
        corrupt=partial(masked_lm.corrupt, how=how),
        methods=("generate", "discriminate"),
        loss=loss,
        coefficients={"loss": 1.0, "discriminator": weight},
        metrics=metrics,
        probes=masked_lm.probes,
    )


def loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """`losses.token_loss` of the generator, and discriminator; see the head of this file."""
    _, nll, log_z, logits, replaced = play(apply, params, batch, rng, train)
    return {
        **losses.nll_terms(nll, log_z, batch["weights"]),
        "discriminator": over_tokens(cross_entropy(logits, replaced), batch),
    }


def play(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> tuple[Any, jax.Array, jax.Array, jax.Array, jax.Array]:
    """The generator's Output, its nats and log Z [B, P]; the discriminator's logits and what was
    replaced (bool) [B, L]. One reading of the vocabulary gives both nll and sample."""
    of_generator, of_sample, of_discriminator = jax.random.split(rng, 3)
    output = apply(params, batch, of_generator, train, method="generate")
    original = written(batch, batch["targets"])
    nll, log_z, sample = losses.nll_and_sample(output, batch["targets"], of_sample)
    filled = written(batch, sample)
    read = {**batch, "tokens": filled}
    logits = apply(params, read, of_discriminator, train, method="discriminate")
    return output, nll, log_z, logits, filled != original


def written(batch: dict[str, jax.Array], answers: jax.Array) -> jax.Array:
    """The tokens [B, L] with `answers` [B, P] at the predicted places; padding writes nothing.

    tokens [5, 4, 11], predict_at [1, 0], weights [1, 0], answers [10, 12] -> [5, 10, 11]
    """
    tokens = batch["tokens"]
    outside = tokens.shape[1]
    at = jnp.where(batch["weights"] > 0, batch["predict_at"], outside)
    return tokens.at[jnp.arange(len(tokens))[:, None], at].set(answers, mode="drop")


def cross_entropy(logits: jax.Array, replaced: jax.Array) -> jax.Array:
    """Nats float32 [B, L] of "replaced", whose probability is sigmoid(logits)."""
    return optax.sigmoid_binary_cross_entropy(logits, replaced.astype(jnp.float32))


def over_tokens(values: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """(sum of `values` [B, L] over the real tokens, their number)."""
    real = batch["segments"] > 0
    return jnp.sum(jnp.where(real, values, 0.0)), jnp.sum(real).astype(jnp.float32)


def metrics(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, special: jax.Array
) -> losses.Sums:
    """`losses.token_metrics` of the generator; of the discriminator its cross entropy and accuracy,
    its precision and recall in finding replaced tokens, and the accuracy of calling all original.
    """
    output, _, _, logits, replaced = play(apply, params, batch, rng, False)
    said = logits > 0
    found, tokens = over_tokens(said & replaced, batch)
    return {
        **losses.text_metrics(output, batch, special),
        "discriminator": over_tokens(cross_entropy(logits, replaced), batch),
        "discriminator_accuracy": over_tokens(said == replaced, batch),
        "discriminator_precision": (found, over_tokens(said, batch)[0]),
        "discriminator_recall": (found, over_tokens(replaced, batch)[0]),
        "yardstick/always_original": (over_tokens(~replaced, batch)[0], tokens),
    }
