"""The objectives with a label for each example: exact streams, and losses that packing keeps."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import objective_toys as toys
import pytest
import tiny
from objective_toys import VOCAB

from pretrain_jax import registry
from pretrain_jax.data import pack
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.objectives import classify, multiple_choice, regress
from pretrain_jax.ragged import Ragged

A, B, C = (np.array(ids, np.int32) for ids in ([10, 11, 12], [20, 21], [30]))
PAD, BOS, EOS, CLS, SEP = (getattr(VOCAB, name) for name in ("pad", "bos", "eos", "cls", "sep"))


def model(name):
    return tiny.architecture(name)


def task_of(objective):
    """The part of an objective with labels."""
    assert objective.example_task is not None
    return objective.example_task


def examples(first, second=None, labels=(1,)):
    raw = {"first": Ragged.concatenate(first), "labels": Ragged.concatenate([[x] for x in labels])}
    return raw if second is None else {**raw, "second": Ragged.concatenate(second)}


def fields(objective, raw):
    made = objective.corrupt(raw, None, VOCAB)
    assert set(made) == set(objective.fields)
    return {name: [row.tolist() for row in made[name].split()] for name in made}


STREAMS = {
    # architecture: one text, a pair
    "bert": ([CLS, *A, SEP], [CLS, *A, SEP, *B, SEP]),
    "electra": ([CLS, *A, SEP], [CLS, *A, SEP, *B, SEP]),
    "roberta": ([CLS, *A, SEP], [CLS, *A, SEP, SEP, *B, SEP]),
    "gpt": ([BOS, *A, CLS], [BOS, *A, SEP, *B, CLS]),
    "llama": ([BOS, *A, CLS], [BOS, *A, SEP, *B, CLS]),
    "t5": ([*A, EOS], [*A, EOS, *B, EOS]),
    "t5_encoder": ([*A, EOS], [*A, EOS, *B, EOS]),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("texts", [1, 2])
def test_streams_have_the_published_formats(name, texts):
    objective = classify.build(model(name), labels=("no", "yes"), texts=texts)
    made = fields(objective, examples([A], [B] if texts == 2 else None))
    stream = list(map(int, STREAMS[name][texts - 1]))
    if name == "t5":
        assert made["memory_tokens"] == [stream]
        assert made["tokens"] == [[PAD, *stream[:-1]]]
    else:
        assert made["tokens"] == [stream]
    last = name in ("gpt", "llama", "t5", "t5_encoder")
    assert made["example_at"] == [[len(stream) - 1 if last else 0]]
    assert made["labels"] == [[1]] and made["label_weights"] == [[1.0]]
    if name in ("bert", "electra") and texts == 2:
        assert made["types"] == [[0] * 5 + [1] * 3]
    else:
        assert "types" not in made
    n = np.array([[3, 2]] if texts == 2 else [[3]])
    assert objective.lengths(n)["L"] == len(stream)


def test_a_similarity_reads_both_orders_as_gpt1():
    objective = classify.build(model("gpt"), labels=("no", "yes"), texts=2, symmetric=True)
    made = fields(objective, examples([A, C], [B, A], labels=(1, 0)))
    assert made["tokens"] == [
        [BOS, *A, SEP, *B, CLS],
        [BOS, *B, SEP, *A, CLS],
        [BOS, *C, SEP, *A, CLS],
        [BOS, *A, SEP, *C, CLS],
    ]
    assert made["labels"] == [[1], [0], [0], [0]]
    assert made["label_weights"] == [[1.0], [0.0], [1.0], [0.0]]
    assert objective.sequences == 2
    lengths = objective.lengths(np.array([[3, 2]]))
    assert (lengths["L"], lengths["E"]) == (16, 2)


def test_the_auxiliary_language_model_predicts_the_next_tokens():
    objective = classify.build(model("gpt"), labels=("no", "yes"), lm_weight=0.5)
    made = fields(objective, examples([A, C], labels=(1, 0)))
    assert made["targets"] == [[*A, CLS, 0], [*C, CLS, 0]]
    assert made["weights"] == [[1, 1, 1, 1, 0], [1, 1, 0]]
    assert objective.coefficients == {"loss": 1.0, "lm": 0.5} and objective.predicts_tokens
    with pytest.raises(ConfigError, match="for decoders"):
        classify.build(model("bert"), labels=("no", "yes"), lm_weight=0.5)


def test_choices_are_sequences_of_their_own():
    objective = multiple_choice.build(model("gpt"), choices=3)
    raw = examples([A, A, [], C, C, C], [B, C, [], A, B, C], labels=(1, 2))
    made = fields(objective, raw)
    assert made["tokens"][:4] == [[BOS, *A, SEP, *B, CLS], [BOS, *A, SEP, *C, CLS], [],
                                  [BOS, *C, SEP, *A, CLS]]  # fmt: skip
    assert made["labels"] == [[1], [0], [0], [2], [0], [0]]
    assert made["label_weights"] == [[1.0], [0.0], [0.0], [1.0], [0.0], [0.0]]


CASES = {
    "classify": (lambda m: classify.build(m, labels=("a", "b", "c"), texts=2, dropout=0.0), 2),
    "smoothed": (
        lambda m: classify.build(
            m, labels=("a", "b", "c"), texts=2, dropout=0.0, smoothing=0.2,
            class_weights=(1.0, 2.0, 0.5),
        ),
        2,
    ),
    "symmetric": (
        lambda m: classify.build(m, labels=("a", "b", "c"), texts=2, dropout=0.0, symmetric=True),
        2,
    ),
    "regress": (lambda m: regress.build(m, texts=2, dropout=0.0), 2),
    "multiple_choice": (lambda m: multiple_choice.build(m, choices=2, dropout=0.0), 2),
}  # fmt: skip


def raw_examples(name, count):
    draw = np.random.default_rng(1)
    many = count * (2 if name == "multiple_choice" else 1)
    first, second = (
        [draw.integers(7, 60, draw.integers(1, 5)).astype(np.int32) for _ in range(many)]
        for _ in range(2)
    )
    labels = draw.integers(0, 2, count)
    return examples(first, second, labels)


def batch_of(objective, raw, per_row, rows):
    fields = objective.corrupt(raw, None, VOCAB)
    budgets = objective.budgets(48 if per_row > 1 else 24)
    budgets["E"] = per_row * objective.sequences
    counts = np.full(rows, per_row * objective.sequences)
    return {k: jnp.asarray(v) for k, v in pack.pack(fields, counts, budgets=budgets).items()}


@pytest.mark.parametrize(
    "architecture, case",
    [
        *(("gpt", case) for case in CASES),
        *(("bert", case) for case in ("smoothed", "multiple_choice")),
        *((name, "classify") for name in ("roberta", "electra", "t5")),
    ],
)
def test_packing_changes_neither_loss_nor_predictions(architecture, case):
    build, packed = CASES[case]
    objective = build(model(architecture))
    context = BuildContext(
        objective.attention, heads=objective.heads, predicts_tokens=objective.predicts_tokens
    )
    sizes = registry.accepted_kwargs(model(architecture).build, {"max_length": 48, "layers": 1})
    module = tiny.build(architecture, context, **sizes)
    raw = raw_examples(case.split()[0], 6)
    batches = [batch_of(objective, raw, per_row, 6 // per_row) for per_row in (1, packed)]
    toys.assert_packing_changes_nothing(objective, module, batches, count=6, atol=2e-5)


def test_a_missing_choice_has_no_probability():
    objective = multiple_choice.build(model("gpt"), choices=3)
    raw = examples([A, A, [], C, C, C], [B, C, [], A, B, C], labels=(1, 2))
    batch = {
        k: jnp.asarray(v)
        for k, v in pack.pack(
            objective.corrupt(raw, None, VOCAB), np.array([6]), budgets={"L": 48, "E": 9}
        ).items()
    }
    numbers = jnp.zeros((1, 9, 1))
    apply = lambda *_: SimpleNamespace(heads={"multiple_choice": numbers})  # noqa: E731
    made = np.asarray(task_of(objective).predict(apply, None, batch)["probabilities"])
    np.testing.assert_allclose(made[0, 0], [0.5, 0.5, 0.0])
    np.testing.assert_allclose(made[0, 1], [1 / 3] * 3, rtol=1e-6)
    total, weight = objective.loss(apply, None, batch, None, False)["loss"]
    assert float(weight) == 2.0
    assert float(total) == pytest.approx(np.log(2) + np.log(3), rel=1e-6)


def test_labels_that_training_does_not_know_are_refused():
    objective = classify.build(model("bert"), labels=("no", "yes"))
    read = task_of(objective).read_labels
    assert read(["yes", None, "no"]).values.tolist() == [1, 0]
    assert read(["yes", None, "no"]).splits.sizes.tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="record 2 has 'maybe'"):
        read(["yes", "maybe"])
    for text in ("high", "nan", "inf", "1e50"):
        with pytest.raises(DataError, match="record 1"):
            regress.read_numbers([text])
    with pytest.raises(DataError, match=r"0 \.\. 2; record 1 has '3'"):
        multiple_choice.read_numbers(["3"], choices=3)


def test_no_label_gives_no_gradient():
    objective = classify.build(model("bert"), labels=("no", "yes"))
    raw = {"first": Ragged.concatenate([A, B]), "labels": Ragged.concatenate([[1], []])}
    made = fields(objective, raw)
    assert made["labels"] == [[1], [0]] and made["label_weights"] == [[1.0], [0.0]]


def test_the_class_loss_by_hand():
    """Two examples, three classes: torch's CrossEntropyLoss(weight, label_smoothing) in numpy."""
    logits = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]], np.float32)
    weights, smoothing, labels = (1.0, 2.0, 0.5), 0.2, np.array([1, 2])
    loss = classify.ClassLoss(smoothing, weights)
    apply = lambda *_: SimpleNamespace(heads={"classify": jnp.asarray(logits)[None]})  # noqa: E731
    batch = {"labels": jnp.asarray(labels)[None], "label_weights": jnp.ones((1, 2))}
    total, weight = loss(apply, None, batch, None, False)["loss"]
    nll = -(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
    w = np.array(weights)
    wanted = sum(
        (1 - smoothing) * w[y] * nll[i, y] + smoothing / 3 * (w * nll[i]).sum()
        for i, y in enumerate(labels)
    )
    assert float(total) == pytest.approx(wanted, rel=1e-6)
    assert float(weight) == pytest.approx(w[labels].sum())


@pytest.mark.parametrize("seq_len, message", [(3, "4 or more"), (2, "4 or more")])
def test_a_row_without_room_is_refused(seq_len, message):
    objective = classify.build(model("bert"), labels=("no", "yes"), texts=2)
    with pytest.raises(ConfigError, match=message):
        objective.arrange(seq_len)
