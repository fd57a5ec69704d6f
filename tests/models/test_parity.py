"""Logits and gradients equal Hugging Face's, alone and packed, for all build settings."""

import functools
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import nats
import numpy as np
import pytest
import tiny

from pretrain_jax import losses
from pretrain_jax.layers.embeddings import padded_size
from pretrain_jax.layers.stacks import BuildContext

GOLDEN = Path(__file__).parents[1] / "golden"
layout: Any = SimpleNamespace(**runpy.run_path(str(GOLDEN / "layout.py")))
MODELS = {"gpt1": "gpt1", "gpt2": "gpt", "llama": "llama"}
TREES = {"gpt1": layout.gpt1_tree, "gpt2": layout.gpt2_tree, "llama": layout.llama_tree}
CONTEXTS = [
    BuildContext(unroll=1, remat="none", attention_backend="plain"),
    BuildContext(unroll=3, remat="none", attention_backend="cpu"),
    BuildContext(unroll=1, remat="full", attention_backend="cpu"),
    BuildContext(unroll=3, remat="full", attention_backend="plain"),
]
all_models = pytest.mark.parametrize("name", MODELS)
all_executions = pytest.mark.parametrize(
    "context", CONTEXTS, ids=lambda e: f"unroll{e.unroll}-{e.remat}-{e.attention_backend}"
)


@functools.cache
def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


def ours(name, section):
    """Hugging Face's parameters or gradients as our tree, with the vocabulary padded with zeros."""
    tree = TREES[name](layout.section(golden(name), section))
    stack = {key: tree[key] for key in ("layers", "final_norm") if key in tree}
    embedding = {**tree["embedding"], "tokens": padded(tree["embedding"]["tokens"])}
    output = {"output": {"table": padded(tree["output"]["kernel"].T)}} if "output" in tree else {}
    return jax.tree.map(jnp.asarray, {"embedding": embedding, "stack": stack, **output})


def padded(table):
    return np.pad(table, ((0, padded_size(len(table)) - len(table)), (0, 0)))


def build(name, context):
    sizes = {key: golden(name)[f"config/{key}"].item() for key in ("layers", "width", "heads")}
    sizes |= {key: golden(name)[f"config/{key}"].item() for key in ("vocab_size", "feed_forward")}
    if name == "llama":
        sizes["rope_base"] = golden(name)["config/rope_base"].item()
        sizes |= {"kv_heads": 0, "head_width": 0}
    else:
        sizes["max_length"] = golden(name)["config/seq_len"].item()
    return tiny.build(MODELS[name], context, **sizes)


@functools.cache
def compiled(name, context):
    """params, batch -> (mean nll, (nll, logits)), gradients; one shape for all tests here."""
    model = build(name, context)

    def loss(params, batch):
        output: Any = model.apply({"params": params}, batch, True)
        nll, _ = nats.token_nll(output, batch["targets"])
        hidden = output.hidden.reshape(-1, output.hidden.shape[-1])
        logits = losses.compute_logits(hidden, output.readout).reshape(*nll.shape, -1)
        return jnp.sum(nll * batch["weights"]) / jnp.sum(batch["weights"]), (nll, logits)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def next_token_batch(rows, examples):
    """A batch with these token arrays in its rows; each position predicts its next token."""
    fields = {name: np.zeros((2, 24), np.int32) for name in ("tokens", "targets")}
    weights = np.zeros((2, 24), np.float32)
    for row, members in enumerate(rows):
        at = 0
        for example in (examples[member] for member in members):
            n = len(example)
            fields["tokens"][row, at : at + n] = example
            fields["targets"][row, at : at + n - 1] = example[1:]
            weights[row, at : at + n - 1] = 1
            at += n
    lengths = [[len(examples[member]) for member in members] for members in rows]
    return tiny.pack(lengths, 24, **fields, weights=weights)


def assert_close(actual, reference, tolerance, kind=""):
    """Largest difference over the largest value, array by array.

    A key's bias moves all scores of a query alike and has no gradient but rounding: it is
    measured against the largest bias gradient of its attention.
    """
    actual, reference = tiny.named(actual), tiny.named(reference)
    assert actual.keys() == reference.keys()
    for name, value in reference.items():
        beside = [value]
        if name.endswith("key/bias"):
            beside += [reference[name.replace("key", part)] for part in ("query", "value")]
        scale = max(float(jnp.max(jnp.abs(x))) for x in beside)
        apart = float(jnp.max(jnp.abs(actual[name] - value)))
        assert apart <= tolerance * scale, f"{kind}{name}: {apart / scale:.1e}"


@all_models
@all_executions
def test_logits_and_gradients_equal_hugging_faces(name, context):
    batch = next_token_batch([[0], [1]], golden(name)["tokens"])
    (loss, (_, logits)), gradients = compiled(name, context)(ours(name, "parameters"), batch)
    size = int(golden(name)["config/vocab_size"])
    assert_close(logits[..., :size], golden(name)["logits"], 1e-5, "logits")
    assert float(loss) == pytest.approx(float(golden(name)["loss"]), rel=1e-6)
    assert_close(gradients, ours(name, "gradients"), 1e-5)


@all_models
def test_the_padded_vocabulary_has_no_probability_and_no_gradient(name):
    batch = next_token_batch([[0], [1]], golden(name)["tokens"])
    params = ours(name, "parameters")
    table = params["output"]["table"] if name == "llama" else params["embedding"]["tokens"]
    size = int(golden(name)["config/vocab_size"])
    assert table.shape[0] == 128
    noisy = jax.tree.map(lambda x: x.at[size:].set(3.0) if x is table else x, params)
    (loss, (_, logits)), gradients = compiled(name, CONTEXTS[0])(params, batch)
    (noisy_loss, _), _ = compiled(name, CONTEXTS[0])(noisy, batch)
    assert np.all(np.exp(logits[..., size:]) == 0)
    assert noisy_loss == loss
    assert np.all(gradients["embedding"]["tokens"][size:] == 0)
    if name == "llama":
        assert np.all(gradients["output"]["table"][size:] == 0)


@all_models
@all_executions
def test_packed_examples_equal_single_ones(name, context):
    """13 and 8 tokens and 3 of padding in one row, and a row that is all padding."""
    first, second = golden(name)["tokens"]
    examples = [first[:13], second[:8]]
    together = next_token_batch([[0, 1], []], examples)
    apart = next_token_batch([[0], [1]], examples)
    run, params = compiled(name, context), ours(name, "parameters")
    (loss, (nll, logits)), gradients = run(params, together)
    (loss_apart, (nll_apart, logits_apart)), gradients_apart = run(params, apart)
    size = int(golden(name)["config/vocab_size"])
    for packed, alone in ((nll, nll_apart), (logits[..., :size], logits_apart[..., :size])):
        assert_close(packed[0, :13], alone[0, :13], 2e-6, "first")
        assert_close(packed[0, 13:21], alone[1, :8], 2e-6, "second")
    assert float(loss) == pytest.approx(float(loss_apart), rel=1e-6)
    assert_close(gradients, gradients_apart, 5e-6)
