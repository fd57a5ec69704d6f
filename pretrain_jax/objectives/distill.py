"""Distillation: a student learns the distribution of a teacher, a larger trained model.

DistilBERT (Sanh et al. 2019, section 3) adds three losses over the predicted tokens; its released
code (huggingface/transformers-research-projects, distillation) weights them 5, 2 and 1:

    distill   T^2 KL(teacher || student), both softened: softmax(logits / T), T = 2 (Hinton et al.
              2015), in nats for each predicted token
    loss      the cross entropy of the text itself
    cosine    1 - cos(hidden state of the student, of the teacher), after the last layer. Here they
              are those that predict a token; DistilBERT takes all tokens

The student reads the same batches as the teacher, whose parameters do not train and are not stored
with the student. DistilBERT's student starts from every second layer of its teacher:
init_from=TEACHER, init_layers=(0, 2, 4, 7, 9, 11) and model.layers=6.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from pretrain_jax import losses, registry
from pretrain_jax.cross_entropy import cross_entropy
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective, causal_lm, masked_lm
from pretrain_jax.registry import Range

TASKS: dict[str, Callable[..., Objective]] = {
    "causal_lm": causal_lm.build,
    "masked_lm": masked_lm.build,
}
RATE = 0.15
TEACHER = "teacher"
"""The name of the teacher's parameters, beside those of the model."""


def build(
    *,
    teacher: str = "",
    task: str = "causal_lm",
    rate: float = RATE,
    temperature: Annotated[float, Range(0, open="least")] = 2.0,
    distill_weight: Annotated[float, Range(0)] = 5.0,
    loss_weight: Annotated[float, Range(0)] = 2.0,
    cosine_weight: Annotated[float, Range(0)] = 0.0,
) -> Objective:
    """The objective of distillation.

    teacher         workdir of the teacher, or one of its checkpoints; it has the same tokenizer
    task            what both models do: "causal_lm" or "masked_lm"
    rate            share of the tokens that is predicted, for masked_lm
    temperature     T; larger values show more of the teacher's unlikely tokens
    distill_weight  weight of the teacher's distribution
    loss_weight     weight of the text itself
    cosine_weight   weight of the cosine of the hidden states, for models of equal width; 1 in
                    DistilBERT, 0 = leave it out
    """
    registry.check_name(task, TASKS, "objective.task")
    if not teacher:
        raise ConfigError("objective.teacher must be the workdir of a trained model; it is empty")
    if task != "masked_lm" and rate != RATE:
        raise ConfigError(
            f"objective.rate is for objective.task=masked_lm; received {rate} with task={task}. "
            "Leave it out"
        )
    options = {"rate": rate} if task == "masked_lm" else {}
    coefficients = {"distill": distill_weight, "loss": loss_weight}
    if cosine_weight:
        coefficients["cosine"] = cosine_weight
    return dataclasses.replace(
        TASKS[task](**options),
        teacher=teacher,
        teacher_objective={"name": task, **options},
        loss=DistillLoss(temperature, cosine_weight > 0),
        coefficients=coefficients,
    )


@dataclass(frozen=True)
class DistillLoss:
    """The losses of the module's docstring."""

    temperature: float
    cosine: bool

    def __call__(
        self,
        teach: Callable[..., Any],
        apply: Callable[..., Any],
        params: Any,
        batch: dict[str, jax.Array],
        rng: Any,
        train: bool,
    ) -> losses.Sums:
        """{"distill", "loss", "z_loss", perhaps "cosine": (sum, predicted tokens)}; see
        Objective.loss. teach: the teacher's `apply`; params[TEACHER] are its parameters."""
        student = apply(params, batch, rng, train)
        teacher = jax.lax.stop_gradient(teach(params[TEACHER], batch, rng, False))
        weights = batch["weights"]
        score = partial(compare, readout=teacher.readout, temperature=self.temperature)
        values = (batch["targets"], teacher.hidden)
        # Both models' logits are in memory at once.
        most = losses.MAX_LOGITS // 2
        divergence, nll, log_z = losses.map_logits(score, student, values, most)
        total = jnp.sum(weights)
        sums = {
            "distill": (jnp.sum(divergence * weights), total),
            **losses.nll_terms(nll, log_z, weights),
        }
        if self.cosine:
            distance = cosine_distance(student.hidden, teacher.hidden)
            sums["cosine"] = (jnp.sum(distance * weights), total)
        return sums


def compare(
    logits: jax.Array, values: Any, *, readout: Any, temperature: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(T^2 KL(teacher || student), nats of the targets, log Z of the student), each [N].

    logits: of the student, [N, V]. values: targets [N] and hidden states [N, D] of the teacher.
    """
    targets, hidden = values
    size = readout.vocab_size
    theirs = losses.compute_logits(hidden, readout)[:, :size] / temperature
    ours = jax.nn.log_softmax(logits[:, :size] / temperature)
    theirs = jax.nn.log_softmax(theirs)
    divergence = jnp.sum(jnp.exp(theirs) * (theirs - ours), axis=-1)
    return temperature**2 * divergence, *cross_entropy(logits, targets)


def cosine_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """float32 [B, P]: 1 - cos of the hidden states [B, P, D]."""
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    norms = jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1)
    return 1 - jnp.sum(a * b, axis=-1) / jnp.maximum(norms, 1e-8)
