"""BERT, RoBERTa and ELECTRA equal Hugging Face's: alone, padded and packed, for all settings."""

import functools
import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from test_parity import assert_close, padded

from pretrain_jax import losses
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.generator_discriminator import GeneratorDiscriminator
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import electra
from pretrain_jax.objectives import masked_lm, next_sentence, replaced_token

GOLDEN = Path(__file__).parents[1] / "golden"
layout: Any = SimpleNamespace(
    **runpy.run_path(str(GOLDEN / "layout.py")) | runpy.run_path(str(GOLDEN / "encoder_layout.py"))
)
TREES = {"bert": layout.bert_tree, "roberta": layout.roberta_tree, "electra": layout.electra_tree}
OBJECTIVES = {"bert": next_sentence, "roberta": masked_lm, "electra": replaced_token}
OWN = {"bert": {}, "roberta": {"types": 1}, "electra": {"embedding_width": 16}}
SIZES = {"layers": 3, "width": 32, "heads": 4, "feed_forward": 64, "vocab_size": 61}
LENGTH, PREDICTIONS, EXAMPLES = 24, 8, 2
CONTEXTS = [
    BuildContext("full", unroll=1, attention_backend="plain"),
    BuildContext("full", unroll=3, attention_backend="cpu", remat="full"),
]
all_models = pytest.mark.parametrize("name", TREES)
all_executions = pytest.mark.parametrize(
    "context", CONTEXTS, ids=lambda e: f"unroll{e.unroll}-{e.attention_backend}"
)


@functools.cache
def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


def ours(name, section):
    """Hugging Face's parameters or gradients as our tree, with the vocabulary padded with zeros."""
    tree = TREES[name](layout.section(golden(name), section))
    output = tree["generator_output" if name == "electra" else "output"]
    output["bias"] = padded(output["bias"][:, None])[:, 0]
    tree["embedding"]["tokens"] = padded(tree["embedding"]["tokens"])
    return jax.tree.map(jnp.asarray, tree)


def build(name, context=CONTEXTS[0], **changes):
    sizes = {**SIZES, "max_length": LENGTH, **OWN[name], **changes}
    return tiny.build(name, context, **sizes)


@functools.cache
def compiled(name, context):
    """params, batch -> (objective, results), gradients; one shape for all tests here."""
    objective = OBJECTIVES[name].build()
    context = BuildContext(**{**vars(context), "heads": objective.heads})
    model = build(name, context)

    def apply(params, batch, rng, train, method="__call__") -> Any:
        return model.apply({"params": params}, batch, train, method=method)

    def loss(params, batch):
        output: Any = apply(params, batch, None, True, objective.model_methods[0])
        found = {"logits": logits(output), **output.heads}
        if name == "electra":  # no sampling here: `filled` is the discriminator's input
            sums = losses.token_loss(lambda *_: output, params, batch, None, True)
            read = {**batch, "tokens": batch["filled"]}
            found["odds"] = odds = apply(params, read, None, True, "discriminate")
            wrong = replaced_token.cross_entropy(odds, batch["replaced"])
            sums["discriminator"] = replaced_token.sum_over_tokens(wrong, batch)
        else:
            sums = objective.loss(apply, params, batch, None, True)
        terms = objective.coefficients.items()
        return sum(c * sums[term][0] / sums[term][1] for term, c in terms), found

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def logits(output):
    """Logits [B, P, V] without the vocabulary's padding."""
    flat = losses.compute_logits(output.hidden.reshape(-1, output.hidden.shape[-1]), output.readout)
    return flat.reshape(*output.hidden.shape[:2], -1)[..., : SIZES["vocab_size"]]


def batch_of(name, rows):
    """A batch of the golden examples in these rows: [[0], [1]] or [[0, 1], []]."""
    source = golden(name)
    streams = [f for f in ("tokens", "types", "filled", "replaced") if f in source]
    fields: Any = {f: np.zeros((2, LENGTH), source[f].dtype) for f in streams}
    fields |= {f: np.zeros((2, PREDICTIONS), np.int32) for f in ("predict_at", "targets")}
    fields["weights"] = np.zeros((2, PREDICTIONS), np.float32)
    fields |= {f: np.zeros((2, EXAMPLES), np.int32) for f in ("example_at", "labels")}
    fields["label_weights"] = np.zeros((2, EXAMPLES), np.float32)
    for row, members in enumerate(rows):
        at = predicted = 0
        for number, member in enumerate(members):
            n, p = source["lengths"][member], int(source["weights"][member].sum())
            for field in streams:
                fields[field][row, at : at + n] = source[field][member, :n]
            places = slice(predicted, predicted + p)
            fields["predict_at"][row, places] = source["predict_at"][member, :p] + at
            fields["targets"][row, places] = source["targets"][member, :p]
            fields["weights"][row, places] = 1
            fields["example_at"][row, number] = at
            fields["labels"][row, number] = source.get("labels", np.zeros(2))[member]
            fields["label_weights"][row, number] = 1
            at, predicted = at + n, predicted + p
    lengths = [[source["lengths"][member] for member in members] for members in rows]
    return tiny.pack(lengths, LENGTH, **fields)


def by_example(name, found, batch):
    """The results of each example, in any row: {(name, example): array}."""
    taken = {}
    for example, segment in enumerate(segments_of(batch)):
        row, number = segment
        at = int(np.argmax(batch["segments"][row] == number))
        n = int(golden(name)["lengths"][example])
        inside = (batch["predict_at"][row] >= at) & (batch["predict_at"][row] < at + n)
        chosen = np.flatnonzero(inside & (batch["weights"][row] > 0))
        taken["logits", example] = found["logits"][row, chosen]
        if "next_sentence" in found:
            taken["next_sentence", example] = found["next_sentence"][row, number - 1]
        if "odds" in found:
            taken["odds", example] = found["odds"][row, at : at + n]
    return taken


def segments_of(batch):
    """(row, number) of both examples, in order."""
    found = {(row, int(s)) for row in range(2) for s in np.asarray(batch["segments"][row]) if s}
    return sorted(found)


def reference(name):
    """The golden arrays, as `by_example` returns them."""
    source, taken = golden(name), {}
    for example, n in enumerate(source["lengths"]):
        count = int(source["weights"][example].sum())
        taken["logits", example] = source["logits"][example, :count]
        for field, stop in (("next_sentence", None), ("odds", n)):
            if field in source:
                taken[field, example] = source[field][example, :stop]
    return taken


@all_models
@all_executions
@pytest.mark.parametrize("rows", [[[0], [1]], [[0, 1], []]], ids=["padded", "packed"])
def test_outputs_and_gradients_equal_hugging_faces(name, context, rows):
    """13 and 8 tokens, in two rows or in one, followed by padding."""
    batch = batch_of(name, rows)
    (loss, found), gradients = compiled(name, context)(ours(name, "parameters"), batch)
    assert float(loss) == pytest.approx(float(golden(name)["loss"]), rel=1e-6)
    actual, wanted = by_example(name, found, batch), reference(name)
    assert actual.keys() == wanted.keys()
    for what, _ in wanted:
        scale = max(np.abs(value).max() for key, value in wanted.items() if key[0] == what)
        for example in range(2):
            apart = np.abs(actual[what, example] - wanted[what, example]).max()
            assert apart <= 1e-5 * scale, (what, example, apart / scale)
    assert_close(gradients, ours(name, "gradients"), 1e-5)


# --- hidden states behind every layer ----------------------------------------------------------


def first_layers(tree, count):
    """The parameters of a model with the first `count` layers."""
    return {
        key: jax.tree.map(lambda x: x[:count], value)
        if key == "layers"
        else first_layers(value, count)
        if isinstance(value, dict)
        else value
        for key, value in tree.items()
    }


def states(model, batch) -> dict[str, jax.Array]:
    """Hidden states [B, L, D] of a bound model's stacks; a single stack is named "hidden"."""
    if isinstance(model, GeneratorDiscriminator):
        filled = {**batch, "tokens": batch["filled"]}
        return {
            "generator_hidden": model.generator_tower(model.embed(batch, False), batch, False),
            "hidden": model.discriminator_tower(model.embed(filled, False), filled, False),
        }
    return {"hidden": model(batch, False).hidden}


@all_models
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_hidden_states_equal_hugging_faces(name, layers):
    model = build(name, layers=layers)
    if name != "electra":
        model = model.clone(output=None)
    batch = batch_of(name, [[0, 1], []])
    del batch["predict_at"]
    params = first_layers(ours(name, "parameters"), layers)
    run = jax.jit(lambda p, b: model.apply({"params": p}, b, method=states))
    for what, hidden in run(params, batch).items():
        wanted = golden(name)[what][layers]
        packed = np.concatenate([wanted[0, :13], wanted[1, :8]])
        apart = np.abs(hidden[0, :21] - packed).max() / np.abs(packed).max()
        assert apart <= 1e-5, (what, apart)


@all_models
def test_embeddings_equal_hugging_faces(name):
    model, batch = build(name), batch_of(name, [[0], [1]])
    params = ours(name, "parameters")
    place = (batch["tokens"], batch["positions"], False, batch.get("types"))
    x = model.embedding(pad_vocab_to=128).apply({"params": params["embedding"]}, *place)
    if name == "electra":
        into = params["generator"]["input"]
        x = x @ into["kernel"] + into["bias"]
    wanted = golden(name).get("generator_hidden", golden(name)["hidden"])[0]
    real = np.asarray(batch["segments"]) > 0
    np.testing.assert_allclose(x[real], wanted[real], rtol=1e-5, atol=1e-5)


# --- differences between the architectures -----------------------------------------------------


def shapes(name, **changes):
    """Shapes of a tiny model's parameters, by name."""
    model = build(name, BuildContext("full", pad_vocab_to=1), **changes)
    batch = tiny.pack([[LENGTH]], LENGTH)
    tree = jax.eval_shape(lambda: model.init(jax.random.key(0), batch, False)["params"])
    return {key: leaf.shape for key, leaf in tiny.named(nn.meta.unbox(tree)).items()}


def test_robertas_positions_start_at_row_2():
    _, gradients = compiled("roberta", CONTEXTS[0])(
        ours("roberta", "parameters"), batch_of("roberta", [[0, 1], []])
    )
    moved = np.any(np.asarray(gradients["embedding"]["positions"]) != 0, axis=-1)
    np.testing.assert_array_equal(moved, [False] * 2 + [True] * 13 + [False] * 11)


def test_roberta_has_no_segment_types_by_default():
    assert "embedding/types" not in shapes("roberta", types=0)
    assert shapes("roberta", types=1)["embedding/types"] == (1, SIZES["width"])


def test_without_types_all_tokens_are_of_type_0():
    params, batch = ours("bert", "parameters"), batch_of("bert", [[0], [1]])
    zeros = jnp.zeros_like(batch["types"])
    without = {field: value for field, value in batch.items() if field != "types"}
    hidden = tiny.hidden(build("bert"))
    of_zeros = hidden(params, {**batch, "types": zeros})
    np.testing.assert_array_equal(hidden(params, without), of_zeros)
    assert np.any(hidden(params, batch) != of_zeros)


def test_generator_and_discriminator_share_the_embedding_and_nothing_else():
    """NaN in one part makes exactly the results that depend on it NaN."""
    model, batch = build("electra"), batch_of("electra", [[0], [1]])

    @jax.jit
    def spoiled(params):
        output: Any = model.apply({"params": params}, batch, False)
        return jnp.isnan(output.hidden).any(), jnp.isnan(output.heads["discriminator"]).any()

    params = ours("electra", "parameters")
    found = {part: spoiled({**params, part: not_numbers(params[part])}) for part in params}
    assert {part: (bool(small), bool(large)) for part, (small, large) in found.items()} == {
        "embedding": (True, True),
        "generator": (True, False),
        "generator_output": (True, False),
        "discriminator": (False, True),
        "discriminator_output": (False, True),
    }


def not_numbers(tree):
    return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), tree)


def test_electra_has_no_map_at_the_tables_width():
    narrow = shapes("electra")
    assert narrow["generator/input/kernel"] == (16, 8)
    assert narrow["discriminator/input/kernel"] == (16, 32)
    assert narrow["generator_output/dense/kernel"] == (8, 16)
    wide = shapes("electra", embedding_width=0, generator_fraction=1.0)
    assert not [name for name in wide if "/input/" in name]
    assert wide["embedding/tokens"] == (61, 32)


def test_the_discriminator_scores_every_token_in_float32():
    model = build("electra", BuildContext("full", dtype=jnp.bfloat16))
    batch = batch_of("electra", [[0], [1]])
    odds: Any = model.apply(
        {"params": ours("electra", "parameters")}, batch, False, method="discriminate"
    )
    assert (odds.shape, odds.dtype) == ((2, LENGTH), jnp.float32)


@pytest.mark.parametrize(
    "width, fraction, sizes",
    [(256, 0.25, (64, 1)), (768, 1 / 3, (256, 4)), (1024, 0.25, (256, 4)), (256, 1.0, (256, 4))],
)
def test_generators_have_the_published_sizes(width, fraction, sizes):
    assert electra.generator_sizes(width, fraction) == sizes


@pytest.mark.parametrize("fraction", [0.0, 0.2601])
def test_a_generator_without_heads_is_refused(fraction):
    with pytest.raises(ConfigError, match="generator_fraction"):
        electra.generator_sizes(768, fraction)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_initial_values_are_as_documented(name):
    """Standard deviations: truncated normal 0.88 x 0.02 (BERT), normal 0.02 (RoBERTa)."""
    spread = 0.02 if name == "roberta" else 0.02 * 0.8796
    model = build(name, width=128, feed_forward=256, vocab_size=1000, max_length=64)
    for key, value in tiny.named(tiny.init(model)).items():
        value = value[:1000] if key.endswith("embedding/tokens") else value
        if key.endswith("norm/scale"):
            assert np.all(value == 1), key
        elif key.endswith("bias"):
            assert np.all(value == 0), key
        else:
            error = 4 / math.sqrt(2 * value.size)  # four standard errors
            assert float(jnp.std(value)) == pytest.approx(spread, rel=error), key
            if name != "roberta":
                assert float(jnp.abs(value).max()) <= 0.04, key


@pytest.mark.parametrize("name", ["bert", "electra"])
def test_dropout_acts_only_in_training(name):
    model = build(name, dropout=0.5)
    params, batch = ours(name, "parameters"), batch_of(name, [[0], [1]])
    method = OBJECTIVES[name].build().model_methods[0]

    @functools.partial(jax.jit, static_argnums=0)
    def hidden(train, seed):
        rngs = {"dropout": jax.random.key(seed)}
        out: Any = model.apply({"params": params}, batch, train, rngs=rngs, method=method)
        return out.hidden

    assert np.array_equal(hidden(True, 1), hidden(True, 1))
    assert not np.array_equal(hidden(True, 1), hidden(True, 2))
    assert np.array_equal(hidden(False, 1), hidden(False, 2))
