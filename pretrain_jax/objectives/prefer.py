"""Preferences: of two answers to a prompt, the chosen one shall be likelier than the rejected one.

Each answer is a sequence of its own after the prompt. With x the prompt, c the chosen answer, r the
rejected one, log p(a | x) the sum over the tokens of an answer and its end, and h the advantage of
the chosen answer over that under the reference,

    h = log p(c | x) - log p(r | x) - [log q(c | x) - log q(r | x)],

where q is the reference: the model that the run starts from. Its log-probabilities are computed
once. The losses in nats for each pair:

    dpo     -log sigmoid(beta h)                        Rafailov et al. 2023, equation 7
    ipo     (h - 1 / (2 beta))^2                        Azar et al. 2024, equation 17
    simpo   -log sigmoid(beta (mean log p(c | x) - mean log p(r | x)) - gamma)
                                                        Meng et al. 2024, equation 6: means over the
                                                        tokens of an answer, and no reference

trl averages IPO's log-probabilities over tokens; here they are sums, as in the paper.

The prompt "a b" with the answers "c" (chosen) and "d e" for a GPT, begin = 1, end = 2:

    tokens      1  a  b  c   1  a  b  d  e
    segments    1  1  1  1   2  2  2  2  2
    targets              c 2          d  e  2      predicted from b c, and from b d e
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, registry
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import ExampleTask, Objective
from pretrain_jax.objectives._cut_texts import warn_of_preferences
from pretrain_jax.objectives._layout import Layout, pick_layout
from pretrain_jax.ragged import Fields, Ragged, RowSplits, wrap
from pretrain_jax.registry import Range

FIELDS = ("prompt", "chosen", "rejected")
CHOSEN, REJECTED = FIELDS[1:]
REFERENCE = "reference"
BETA = {"dpo": 0.1, "ipo": 0.1, "simpo": 2.0}
"""The papers' values of beta."""
GAMMA = 1.0
SPECIALS = 1
"""Special ids of a prompt: its begin in a stream, its end in a memory."""
LEAST = 4
"""A row has room for as many answers as if each had this many tokens."""


def build(
    *,
    loss: str = "dpo",
    beta: Annotated[float, Range(0)] = 0.0,
    gamma: Annotated[float, Range(0)] = GAMMA,
    inputs: str = "stream",
    inputs_length: Annotated[int, Range(0)] = 0,
    targets_length: Annotated[int, Range(0)] = 0,
) -> Objective:
    """The objective of preferences.

    loss            "dpo", "ipo" or "simpo"
    beta            how much the model may move away from the reference: less with a greater beta. 0
                    = 0.1; 2 for SimPO, where it scales the means
    gamma           SimPO's margin between the two answers, after beta
    inputs          "stream" for decoders, "prefix" for prefix language models, "memory" for
                    encoder-decoders (objectives/_layout.py)
    inputs_length   maximum number of tokens of a prompt; 0 = as many as a row has
    targets_length  number of answer tokens in a row; an answer has at most half of them, with its
                    end. 0 = half of data.seq_len

    A record has the columns of `data.fields` ("prompt", "chosen", "rejected").
    """
    registry.check_name(loss, tuple(BETA), "objective.loss")
    if loss != "simpo" and gamma != GAMMA:
        raise ConfigError(f"objective.gamma is for loss=simpo, not {loss}; leave out gamma={gamma}")
    layout = pick_layout(inputs)
    sizes = Sizes(layout, inputs_length, targets_length)
    scale = beta or BETA[loss]
    rewards = Rewards(loss, scale)
    return Objective(
        fields=(*layout.fields, "reference"),
        attention=layout.attention,
        arrangement="preferences",
        arrange=sizes.arrange,
        lengths=sizes.lengths,
        budgets=sizes.budgets,
        corrupt=partial(corrupt, layout=layout),
        prompt=partial(prompt, layout=layout),
        special_tokens=(*layout.special_tokens, "eos"),
        annotation_kind="records",
        baselines=(),
        sequences=2,
        loss=PreferenceLoss(rewards, gamma),
        example_task=ExampleTask(
            read_labels=no_labels,
            predict=rewards.predict,
            report=report,
            score=score,
            metric="accuracy",
            texts=len(FIELDS),
            resolve=no_options,
            default_texts=FIELDS,
            implied_label=CHOSEN,
        ),
        needs_reference=loss != "simpo",
        data_warning=warn_of_preferences,
    )


@dataclass(frozen=True)
class Sizes:
    """Sizes of examples and rows; see `build`."""

    layout: Layout
    inputs_length: int
    targets_length: int

    def targets(self, seq_len: int) -> int:
        """The number of answer tokens in a row."""
        return self.targets_length or seq_len // 2

    def arrange(self, seq_len: int) -> dict[str, int]:
        """Objective.arrange. Raises ConfigError for rows without room."""
        targets = self.targets(seq_len) // 2 - 1
        # In one stream, the last token of an answer is predicted but not read.
        row = seq_len // 2 - (targets if self.layout.one_stream else 0)
        inputs = min(self.inputs_length or row, row) - SPECIALS
        if inputs < 1 or targets < 1:
            raise ConfigError(
                "rows must have room for two prompts and two answers with their special ids; "
                f"received data.seq_len={seq_len}, objective.targets_length="
                f"{self.targets_length} and objective.inputs_length={self.inputs_length}. Make "
                "the rows longer, or objective.targets_length smaller"
            )
        return {"inputs": inputs, "targets": targets}

    def lengths(self, n: Any) -> dict[str, Any]:
        """Objective.lengths: n is int [..., 3], the tokens of prompt, chosen and rejected."""
        n = np.asarray(n)
        inputs, targets = 2 * (n[..., 0] + SPECIALS), n[..., 1] + n[..., 2] + 2
        # Each of the two streams leaves out its last token (Layout.lengths leaves out one).
        return {**self.layout.lengths(inputs, targets, both=inputs + targets - 1), "E": 2}

    def budgets(self, seq_len: int) -> dict[str, int]:
        """Objective.budgets."""
        self.arrange(seq_len)  # refuses rows that are too short
        targets = self.targets(seq_len)
        both = seq_len + 1 if self.layout.one_stream else seq_len + targets
        answers = max(2, 2 * (targets // (2 * LEAST)))
        return {**self.layout.lengths(seq_len, targets, both=both), "E": answers}


def no_options(texts: int) -> dict[str, Any]:
    """No option of `build` follows from the source."""
    del texts
    return {}


def no_labels(texts: list[str | None]) -> Ragged:
    """No numbers: every record has the same label, the chosen answer."""
    return Ragged(np.zeros(0, np.int32), RowSplits(np.zeros(len(texts), np.int64)))


def frame(inputs: Ragged, vocab: Any, layout: Layout) -> Ragged:
    """Prompts with their special id: a stream begins with `bos`, a memory ends with `eos`."""
    if layout.one_stream:
        return wrap(inputs, () if vocab.bos is None else (vocab.bos,), ())
    return wrap(inputs, (), (vocab.eos,))


def corrupt(examples: Fields, uniform: Any, vocab: Any, *, layout: Layout) -> Fields:
    """The fields of {"inputs", "targets": int32 texts, "reference": float32}, two rows for each
    example (data/preferences.py). Nothing is drawn."""
    del uniform
    inputs = frame(examples["inputs"], vocab, layout)
    targets = wrap(examples["targets"], (), (vocab.eos,))
    return {**layout.write(inputs, targets, vocab), "reference": examples["reference"]}


def prompt(ids: np.ndarray, vocab: Any, *, layout: Layout) -> dict[str, np.ndarray]:
    """The prompt of `corrupt` for a text."""
    framed = frame(Ragged.concatenate([ids]), vocab, layout)
    return layout.prompt(framed.values, vocab)


def answer_sums(
    output: Any, batch: dict[str, jax.Array], entries: int
) -> tuple[jax.Array, jax.Array]:
    """(log-probabilities of the answers in nats, their numbers of tokens), float32 [B, E].

    entries: E. Sequence e of a row has segment e + 1.
    """
    nll, _ = losses.nll_and_hits(output, batch["targets"])
    segments = batch["segments"]
    if "predict_at" in batch:
        segments = jnp.take_along_axis(segments, batch["predict_at"], axis=1)
    belongs = segments[:, :, None] == jnp.arange(1, entries + 1)
    weights = belongs * batch["weights"][:, :, None]
    return -jnp.einsum("bp,bpe->be", nll, weights), jnp.sum(weights, axis=1)


@dataclass(frozen=True)
class Rewards:
    """The rewards of answers: beta (log p - log q), for SimPO beta times the mean log p."""

    loss: str
    beta: float

    def __call__(self, sums: jax.Array, counts: jax.Array, reference: jax.Array) -> jax.Array:
        """Rewards float32 [B, E] from the sums of log p, the numbers of tokens, and log q."""
        if self.loss == "simpo":
            return self.beta * sums / jnp.maximum(counts, 1)
        return self.beta * jnp.where(counts > 0, sums - reference, 0.0)

    def predict(self, apply: Any, params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Of both answers of each example, float32 [B, E / 2, 2]: "logprobs" in nats, "tokens" and
        "rewards"."""
        output = apply(params, batch, jax.random.key(0), False)
        sums, counts = answer_sums(output, batch, batch[REFERENCE].shape[1])
        made = {
            "logprobs": sums,
            "tokens": counts,
            "rewards": self(sums, counts, batch[REFERENCE]),
        }
        return {name: pairs(x) for name, x in made.items()}


def pairs(x: jax.Array) -> jax.Array:
    """[B, E] -> [B, E / 2, 2]: of each example, the chosen answer and the rejected one."""
    return x.reshape(x.shape[0], -1, 2)


@dataclass(frozen=True)
class PreferenceLoss:
    """The losses of the module's docstring."""

    rewards: Rewards
    gamma: float

    def __call__(
        self, apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
    ) -> losses.Sums:
        """{"loss": (sum of nats, pairs)}; see Objective.loss."""
        output = apply(params, batch, rng, train)
        sums, counts = answer_sums(output, batch, batch[REFERENCE].shape[1])
        rewards = pairs(self.rewards(sums, counts, batch[REFERENCE]))
        margin = rewards[..., 0] - rewards[..., 1]
        present = pairs(counts)[..., 0] > 0
        loss = pair_loss(self.rewards, self.gamma, margin)
        return {"loss": (jnp.sum(jnp.where(present, loss, 0.0)), jnp.sum(present, dtype=float))}


def pair_loss(rewards: Rewards, gamma: float, margin: jax.Array) -> jax.Array:
    """The loss of pairs from the differences of their rewards, like `margin`."""
    if rewards.loss == "ipo":
        return jnp.square(margin / rewards.beta - 1 / (2 * rewards.beta))
    return -jax.nn.log_sigmoid(margin - (gamma if rewards.loss == "simpo" else 0.0))


def report(predictions: Mapping[str, np.ndarray], examples: Any) -> list[dict[str, Any]]:
    """The preferred answer of each example, with the rewards, log-probabilities in nats and numbers
    of tokens of the chosen and the rejected answer."""
    del examples
    return [
        {
            "prediction": preferred(rewards),
            "rewards": rewards.tolist(),
            "logprobs": logprobs.tolist(),
            "tokens": tokens.tolist(),
        }
        for rewards, logprobs, tokens in zip(
            predictions["rewards"], predictions["logprobs"], predictions["tokens"], strict=True
        )
    ]


def preferred(rewards: np.ndarray) -> str:
    """The answer with the greater reward; the rejected one where both are equal."""
    return CHOSEN if rewards[0] > rewards[1] else REJECTED


def score_rewards(reports: list[dict[str, Any]], labels: list[str]) -> dict[str, float]:
    """accuracy: the share of pairs whose chosen answer has the greater reward; margin: the mean
    difference of the rewards."""
    right = [one["prediction"] == label for one, label in zip(reports, labels, strict=True)]
    margins = [one["rewards"][0] - one["rewards"][1] for one in reports]
    return {"accuracy": float(np.mean(right)), "margin": float(np.mean(margins))}


def score(reports: list[dict[str, Any]], labels: list[str]) -> dict[str, float]:
    """accuracy and margin; nats: those of a token of the chosen answers."""
    chosen = sum(one["logprobs"][0] for one in reports)
    tokens = sum(one["tokens"][0] for one in reports)
    return {**score_rewards(reports, labels), "nats": -chosen / tokens}
