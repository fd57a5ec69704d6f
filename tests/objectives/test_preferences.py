"""Preferences and reward models: exact streams, and the losses of a short independent version."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import objective_toys as toys
import pytest
import tiny
from objective_toys import VOCAB

from pretrain_jax import registry
from pretrain_jax.data import pack
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.losses import output_logits
from pretrain_jax.objectives import prefer, reward
from pretrain_jax.objectives._formats import one_each
from pretrain_jax.ragged import Ragged

A, B, C = (np.array(ids, np.int32) for ids in ([10, 11, 12], [20, 21], [30]))
PAD, BOS, EOS, CLS, SEP = (getattr(VOCAB, name) for name in ("pad", "bos", "eos", "cls", "sep"))
LAYOUTS = {"gpt": "stream", "llama": "stream", "t5": "memory"}


def raw(*records, reference=None):
    """Raw examples of records (prompt, chosen, rejected)."""
    values = np.zeros(2 * len(records)) if reference is None else np.ravel(reference)
    return {
        "inputs": Ragged.concatenate([prompt for prompt, _, _ in records for _ in range(2)]),
        "targets": Ragged.concatenate([text for _, *both in records for text in both]),
        "reference": one_each(values, np.float32),
    }


def task_of(objective):
    assert objective.example_task is not None
    return objective.example_task


def rows(made):
    return {name: [row.tolist() for row in made[name].split()] for name in made}


def test_both_answers_follow_the_prompt():
    objective = prefer.build(targets_length=48)
    made = rows(objective.corrupt(raw((A, B, C)), None, VOCAB))
    assert set(made) == set(objective.fields)
    assert made["tokens"] == [[BOS, *A, *B], [BOS, *A, *C]]
    assert made["targets"] == [[*B, EOS], [*C, EOS]]
    assert made["predict_at"] == [[3, 4, 5], [3, 4]]
    lengths = objective.lengths(np.array([[3, 2, 1]]))
    assert lengths["L"] >= 11 and lengths["P"] == 5 and lengths["E"] == 2


def test_an_encoder_reads_the_prompt_of_an_encoder_decoder():
    objective = prefer.build(inputs="memory")
    made = rows(objective.corrupt(raw((A, B, C)), None, VOCAB))
    assert made["memory_tokens"] == [[*A, EOS]] * 2
    assert made["tokens"] == [[PAD, *B], [PAD, *C]]
    assert made["targets"] == [[*B, EOS], [*C, EOS]]
    lengths = objective.lengths(np.array([[3, 2, 1]]))
    assert (lengths["M"], lengths["L"]) == (8, 5)


@pytest.mark.parametrize("inputs", ["stream", "memory"])
def test_the_longest_examples_fill_a_row(inputs):
    objective = prefer.build(inputs=inputs, targets_length=16)
    most = objective.arrange(64)
    n = np.array([[most["inputs"], most["targets"], most["targets"]]])
    lengths, budgets = objective.lengths(n), objective.budgets(64)
    assert all(lengths[axis] <= budgets[axis] for axis in lengths)
    with pytest.raises(ConfigError, match="must have room for two prompts"):
        objective.arrange(2)


@pytest.mark.parametrize("loss, beta", prefer.BETA.items())
def test_beta_scales_the_rewards(loss, beta):
    sums, counts, reference = (jnp.array([[x]]) for x in (-6.0, 3.0, -4.0))
    for given, wanted in ((0.0, beta), (0.3, 0.3)):
        rewards = prefer.build(loss=loss, beta=given).loss.rewards  # type: ignore[attr-defined]
        advantage = -6 / 3 if loss == "simpo" else -6 + 4
        assert float(rewards(sums, counts, reference)[0, 0]) == pytest.approx(wanted * advantage)


def test_prompts_have_their_own_maximum():
    assert prefer.build(inputs_length=5).arrange(64)["inputs"] == 4  # and the begin
    assert prefer.build(inputs_length=1000).arrange(64) == prefer.build().arrange(64)


def test_a_reward_model_reads_pairs():
    objective = reward.build(tiny.architecture("gpt"))
    made = rows(objective.corrupt(raw((A, B, C)), None, VOCAB))
    assert set(made) == set(objective.fields)
    assert made["tokens"] == [[BOS, *A, SEP, *B, CLS], [BOS, *A, SEP, *C, CLS]]
    assert made["example_at"] == [[7], [6]]
    assert made["label_weights"] == [[1.0], [0.0]]
    assert objective.lengths(np.array([[3, 2, 1]]))["L"] == 15


def draw_records(count):
    draw = np.random.default_rng(5)
    text = lambda: draw.integers(7, 60, draw.integers(1, 5)).astype(np.int32)  # noqa: E731
    return [(text(), text(), text()) for _ in range(count)], draw.normal(-9, 2, (count, 2))


def module_of(name, objective):
    context = BuildContext(
        objective.attention, heads=objective.heads, predicts_tokens=objective.predicts_tokens
    )
    sizes = registry.accepted_kwargs(tiny.architecture(name).build, {"max_length": 96, "layers": 1})
    return tiny.build(name, context, **sizes)


def batch_of(objective, examples, per_row, count, seq_len=96):
    fields = objective.corrupt(examples, None, VOCAB)
    budgets = {**objective.budgets(seq_len), "E": 2 * per_row}
    counts = np.full(count // per_row, 2 * per_row)
    return {k: jnp.asarray(v) for k, v in pack.pack(fields, counts, budgets=budgets).items()}


def logprob(module, params, prompt, answer, memory):
    """log p(answer | prompt) in nats, and its tokens, from the logits of this sequence alone."""
    targets = np.append(answer, EOS)
    if memory:
        fields = {"memory_tokens": np.append(prompt, EOS), "tokens": np.append(PAD, answer)}
    else:
        fields = {"tokens": np.concatenate([[BOS], prompt, answer])}
    n = len(fields["tokens"])
    batch = {k: jnp.asarray(v, jnp.int32)[None] for k, v in fields.items()}
    for name in [k for k in batch if k.endswith("tokens")]:
        ones = jnp.ones_like(batch[name])
        batch[name.replace("tokens", "segments")] = ones
        batch[name.replace("tokens", "positions")] = jnp.cumsum(ones, 1) - 1
    logits = np.asarray(output_logits(module.apply({"params": params}, batch, False)))[0]
    nats = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    at = np.arange(n - len(targets), n)
    return float((logits[at, targets] - nats[at]).sum()), len(targets)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def expected(loss, beta, gamma, chosen, rejected, reference):
    """The formulas of the papers, for one pair: (log p, tokens) of both answers."""
    h = chosen[0] - rejected[0] - (reference[0] - reference[1])
    if loss == "dpo":
        return -np.log(sigmoid(beta * h))
    if loss == "ipo":
        return (h - 1 / (2 * beta)) ** 2
    return -np.log(sigmoid(beta * (chosen[0] / chosen[1] - rejected[0] / rejected[1]) - gamma))


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("loss", prefer.BETA)
def test_losses_are_those_of_the_papers(name, loss):
    gamma = 0.7 if loss == "simpo" else prefer.GAMMA
    objective = prefer.build(loss=loss, inputs=LAYOUTS[name], gamma=gamma, targets_length=48)
    records, reference = draw_records(6)
    batch = batch_of(objective, raw(*records, reference=reference), 3, 6)
    module = module_of(name, objective)
    params = toys.random_params(module, batch)
    apply = lambda p, b, rng, train: module.apply({"params": p}, b, train)  # noqa: E731
    total, weight = objective.loss(apply, params, batch, None, False)["loss"]
    each = []
    for (prompt, *both), known in zip(records, reference, strict=True):
        chosen, rejected = (
            logprob(module, params, prompt, answer, name == "t5") for answer in both
        )
        each.append(expected(loss, prefer.BETA[loss], 0.7, chosen, rejected, known))
    assert float(weight) == 6
    assert float(total) == pytest.approx(sum(each), rel=1e-5)


@pytest.mark.parametrize("build", [prefer.build, partial(reward.build, tiny.architecture("gpt"))])
def test_packing_changes_neither_loss_nor_predictions(build):
    objective = build()
    records, reference = draw_records(6)
    examples = raw(*records, reference=reference)
    batches = [batch_of(objective, examples, per_row, 6) for per_row in (1, 3)]
    toys.assert_packing_changes_nothing(
        objective, module_of("gpt", objective), batches, count=6, atol=5e-5
    )


def test_a_model_equal_to_its_reference_loses_ln_2():
    objective = prefer.build(targets_length=48)
    records, _ = draw_records(4)
    module = module_of("gpt", objective)
    apply = lambda p, b, rng, train: module.apply({"params": p}, b, train)  # noqa: E731
    batch = batch_of(objective, raw(*records), 2, 4)
    params = toys.random_params(module, batch)
    made = task_of(objective).predict(apply, params, batch)
    batch = batch_of(objective, raw(*records, reference=np.reshape(made["logprobs"], (4, 2))), 2, 4)
    total, weight = objective.loss(apply, params, batch, None, False)["loss"]
    assert float(total / weight) == pytest.approx(np.log(2), rel=1e-5)
