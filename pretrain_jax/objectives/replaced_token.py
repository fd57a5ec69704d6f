"""Replaced-token detection: a generator fills in masked tokens, a discriminator finds its changes.

ELECTRA (Clark et al. 2020, sections 2 and 3; google-research/electra run_pretraining.py and
pretrain_helpers.py). The generator trains by masked language modeling; [MASK] replaces 85 % of the
predicted tokens, and 15 % stay. Its predictions, sampled at temperature 1 and without a gradient,
fill all predicted positions. The discriminator then classifies every token, [CLS] and [SEP]
included, as original or replaced. A sample that equals the original token counts as original.

    loss           mean cross entropy of the generator
    discriminator  mean binary cross entropy over all tokens, times `weight`

Positions are drawn without replacement. The released code draws with replacement, so it predicts
fewer.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pretrain_jax import losses
from pretrain_jax.objectives import Objective, _encoder


def build(*, rate: float = 0.15, replaced: float = 0.85, weight: float = 50.0) -> Objective:
    """The objective of ELECTRA.

    rate      share of the tokens that is predicted; 0.25 in ELECTRA-Large
    replaced  share of the predicted tokens that the generator reads as [MASK]; it reads the others
              unchanged
    weight    coefficient of the discriminator's loss; the generator's is 1
    """
    how = _encoder.Masking(rate, _encoder.single_tokens, replaced, random=0.0)
    return Objective(
        **_encoder.single_text(how),
        fields=_encoder.FIELDS,
        corrupt=partial(_encoder.corrupt, how=how),
        model_methods=("generate", "discriminate"),
        loss=loss,
        coefficients={"loss": 1.0, "discriminator": weight},
        metrics=metrics,
        pll_examples=_encoder.pll_examples,
        prompt=_encoder.prompt,
    )


def loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """`losses.token_loss` of the generator, and "discriminator"; see the top of this file."""
    _, nll, log_z, logits, replaced = run_both(apply, params, batch, rng, train)
    return {
        **losses.nll_terms(nll, log_z, batch["weights"]),
        "discriminator": sum_over_tokens(cross_entropy(logits, replaced), batch),
    }


def run_both(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> tuple[Any, jax.Array, jax.Array, jax.Array, jax.Array]:
    """(the generator's Output, its nats [B, P], its log Z [B, P], the discriminator's logits
    [B, L], whether a token was replaced, bool [B, L]). Nats and sample come from one pass over the
    vocabulary."""
    generator_rng, sample_rng, discriminator_rng = jax.random.split(rng, 3)
    output = apply(params, batch, generator_rng, train, method="generate")
    original = fill_in(batch, batch["targets"])
    nll, log_z, sample = losses.nll_and_sample(output, batch["targets"], sample_rng)
    filled = fill_in(batch, sample)
    inputs = {**batch, "tokens": filled}
    logits = apply(params, inputs, discriminator_rng, train, method="discriminate")
    return output, nll, log_z, logits, filled != original


def fill_in(batch: dict[str, jax.Array], predicted: jax.Array) -> jax.Array:
    """The tokens [B, L] with `predicted` [B, P] at the predicted positions; padding is ignored.

    tokens [5, 4, 11], predict_at [1, 0], weights [1, 0], predicted [10, 12] -> [5, 10, 11]
    """
    tokens = batch["tokens"]
    outside = tokens.shape[1]
    at = jnp.where(batch["weights"] > 0, batch["predict_at"], outside)
    return tokens.at[jnp.arange(len(tokens))[:, None], at].set(predicted, mode="drop")


def cross_entropy(logits: jax.Array, replaced: jax.Array) -> jax.Array:
    """Nats float32 [B, L] of the labels `replaced`; sigmoid(logits) is the probability of true."""
    return optax.sigmoid_binary_cross_entropy(logits, replaced.astype(jnp.float32))


def sum_over_tokens(values: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """(sum of `values` [B, L] over the tokens that are not padding, number of these tokens)."""
    real = batch["segments"] > 0
    return jnp.sum(jnp.where(real, values, 0.0)), jnp.sum(real).astype(jnp.float32)


def metrics(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, special: jax.Array
) -> losses.Sums:
    """`losses.token_metrics` of the generator. For the discriminator: its cross entropy, accuracy,
    precision and recall of replaced tokens, and the accuracy of always answering "original".
    """
    output, _, _, logits, replaced = run_both(apply, params, batch, rng, False)
    positive = logits > 0
    hits, tokens = sum_over_tokens(positive & replaced, batch)
    return {
        **losses.text_metrics(output, batch, special),
        "discriminator": sum_over_tokens(cross_entropy(logits, replaced), batch),
        "discriminator_accuracy": sum_over_tokens(positive == replaced, batch),
        "discriminator_precision": (hits, sum_over_tokens(positive, batch)[0]),
        "discriminator_recall": (hits, sum_over_tokens(replaced, batch)[0]),
        "yardstick/always_original": (sum_over_tokens(~replaced, batch)[0], tokens),
    }
