"""Encoder-decoders: equal to Hugging Face's T5 and to the paper's formulas, alone and packed."""

import functools
import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import nats
import numpy as np
import pytest
import tiny

from pretrain_jax import losses
from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.embeddings import padded_size
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.masks import Mask
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.positions import sinusoids
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models._t5 import T5Layers

GOLDEN = Path(__file__).parents[1] / "golden"
layout: Any = SimpleNamespace(**runpy.run_path(str(GOLDEN / "encoder_decoder_layout.py")))
CONTEXTS = [
    BuildContext(unroll=1, remat="none", attention_backend="plain"),
    BuildContext(unroll=3, remat="full", attention_backend="cpu"),
    BuildContext(unroll=1, remat="full", attention_backend="plain"),
]
released = pytest.mark.parametrize("name", ["t5", "t5_1_1"])
all_executions = pytest.mark.parametrize(
    "context", CONTEXTS, ids=lambda e: f"unroll{e.unroll}-{e.remat}-{e.attention_backend}"
)
MEMORY, LENGTH = 40, 24


@functools.cache
def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


def ours(name, section):
    """Hugging Face's parameters or gradients as our tree, with the vocabulary padded with zeros."""
    tree = layout.t5_tree(layout.section(golden(name), section))
    for part, key in (("embedding", "tokens"), ("output", "table")):
        if part in tree:
            table = tree[part][key]
            tree[part] = {key: np.pad(table, ((0, padded_size(len(table)) - len(table)), (0, 0)))}
    return jax.tree.map(jnp.asarray, tree)


@functools.cache
def compiled(name, context):
    """params, batch -> (mean nll, (logits, hidden, memory)), gradients; one shape for all tests."""
    start = len("config/")
    sizes: dict[str, Any] = {
        k[start:]: v.item() for k, v in golden(name).items() if k.startswith("config/")
    }
    model = tiny.build(name, context, **sizes)
    is_stack = lambda module, _: module.name in ("encoder", "decoder")  # noqa: E731

    def loss(params, batch):
        output: Any
        output, seen = model.apply({"params": params}, batch, True, capture_intermediates=is_stack)
        nll, _ = nats.token_nll(output, batch["targets"])
        hidden = output.hidden.reshape(-1, output.hidden.shape[-1])
        logits = losses.compute_logits(hidden, output.readout).reshape(*nll.shape, -1)
        memory = seen["intermediates"]["encoder"]["__call__"][0]
        mean = jnp.sum(nll * batch["weights"]) / jnp.sum(batch["weights"])
        return mean, (logits[..., : sizes["vocab_size"]], output.hidden, memory)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def examples_of(name, memory_lengths, lengths):
    """(memory tokens, tokens, targets) of the two golden rows, cut to these lengths."""
    g = golden(name)
    return [
        (g["memory_tokens"][row, :m], g["tokens"][row, :n], g["targets"][row, :n])
        for row, (m, n) in enumerate(zip(memory_lengths, lengths, strict=True))
    ]


def batch_of(rows, examples, memory=MEMORY, length=LENGTH):
    """A batch with these examples in its rows; the rest is padding."""
    members = [[examples[number] for number in row] for row in rows]
    batch = tiny.pack([[len(example[1]) for example in row] for row in members], length)
    beside = tiny.pack([[len(example[0]) for example in row] for row in members], memory)
    batch |= {key: field for key, field in beside.items() if key.startswith("memory_")}
    for part, (key, size) in enumerate(
        (("memory_tokens", memory), ("tokens", length), ("targets", length))
    ):
        field = np.zeros((len(rows), size), np.int32)
        for row, held in zip(field, members, strict=True):
            joined = np.concatenate([[], *(example[part] for example in held)])
            row[: len(joined)] = joined
        batch[key] = jnp.asarray(field)
    return batch | {"weights": (batch["segments"] > 0).astype(jnp.float32)}


def assert_close(actual, reference, tolerance, kind=""):
    """Largest difference over the largest value, array by array."""
    actual, reference = tiny.named(actual), tiny.named(reference)
    assert actual.keys() == reference.keys()
    for key, value in reference.items():
        apart = float(jnp.max(jnp.abs(actual[key] - value)) / jnp.max(jnp.abs(value)))
        assert apart <= tolerance, f"{kind}{key}: {apart:.1e}"


@released
@all_executions
def test_states_logits_and_gradients_equal_hugging_faces(name, context):
    g = golden(name)
    batch = batch_of([[0], [1]], examples_of(name, g["memory_lengths"], g["lengths"]))
    (loss, (logits, hidden, memory)), gradients = compiled(name, context)(
        ours(name, "parameters"), batch
    )
    text, source = np.asarray(batch["segments"]) > 0, np.asarray(batch["memory_segments"]) > 0
    assert_close(memory[source], g["memory"][source], 1e-5, "memory")
    assert_close(hidden[text], g["hidden"][text], 1e-5, "hidden")
    assert_close(logits[text], g["logits"][text], 1e-5, "logits")
    assert float(loss) == pytest.approx(float(g["loss"]), rel=1e-6)
    assert_close(gradients, ours(name, "gradients"), 1e-5)


@released
@all_executions
def test_packed_examples_equal_single_ones(name, context):
    """Two examples that fill the memory but not the stream, and a row that is all padding."""
    examples = examples_of(name, (23, 17), (9, 13))
    run, params = compiled(name, context), ours(name, "parameters")
    (loss, together), gradients = run(params, batch_of([[0, 1], []], examples))
    (loss_apart, apart), gradients_apart = run(params, batch_of([[0], [1]], examples))
    for packed, alone, cuts in zip(together, apart, ((9, 22), (9, 22), (23, 40)), strict=True):
        assert bool(jnp.all(jnp.isfinite(packed)))
        assert_close(packed[0, : cuts[0]], alone[0, : cuts[0]], 2e-6, "first")
        assert_close(packed[0, cuts[0] : cuts[1]], alone[1, : cuts[1] - cuts[0]], 2e-6, "second")
    assert float(loss) == pytest.approx(float(loss_apart), rel=1e-6)
    assert_close(gradients, gradients_apart, 5e-6)


# ---- what a position depends on ----

SMALL_M, SMALL_L = 20, 16
KINDS: dict[str, Any] = {"t5": {}, "transformer": {}, "t5 shared": {"shared": True}}
every_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def tiny_model(kind, context=CONTEXTS[0], **more):
    return tiny.build(kind.split()[0], context, **KINDS[kind], **{"layers": 2} | more)


def small_batch(rows):
    """Rows of (memory length, length); no token occurs twice in a row, in either stream."""
    batch = tiny.pack([[n for _, n in row] for row in rows], SMALL_L)
    beside = tiny.pack([[m for m, _ in row] for row in rows], SMALL_M)
    batch |= {key: field for key, field in beside.items() if key.startswith("memory_")}
    shifted = jnp.arange(SMALL_M) + SMALL_L + jnp.zeros((len(rows), 1), jnp.int32)
    return batch | {"tokens": batch["tokens"] % SMALL_L, "memory_tokens": shifted}


def init(model):
    batch = small_batch([[(8, 6)]])
    boxed = jax.jit(lambda key: model.init(key, batch, False)["params"])(jax.random.key(0))
    return nn.meta.unbox(boxed)


def shapes_of(model):
    batch = small_batch([[(8, 6)]])
    boxed = jax.eval_shape(lambda: model.init(jax.random.key(0), batch, False)["params"])
    return nn.meta.unbox(boxed)


def drawn(model):
    """Parameters large enough that every part matters, without compiling `init`."""
    return tiny.randomise(jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1), shapes_of(model)))


@functools.cache
def dependence(kind):
    """params, batch [1, L] -> (bool [L, L], bool [L, M]): which tokens move which hidden states."""
    model = tiny_model(kind, BuildContext(attention_backend="cpu"))
    directions = np.random.default_rng(1).normal(size=(SMALL_L, tiny.SIZES["width"]))
    cotangents = jnp.asarray(np.eye(SMALL_L)[:, None, :, None] * directions, jnp.float32)

    def depends(params, batch):
        def hidden(table):
            embedding = {**params["embedding"], "tokens": table}
            output: Any = model.apply({"params": {**params, "embedding": embedding}}, batch, False)
            return output.hidden

        _, back = jax.vjp(hidden, params["embedding"]["tokens"])
        (by_row,) = jax.vmap(back)(cotangents)
        moved = jnp.any(by_row != 0, axis=-1)
        return moved[:, batch["tokens"][0]], moved[:, batch["memory_tokens"][0]]

    return jax.jit(depends), drawn(model)


@every_kind
def test_a_target_depends_on_earlier_targets_and_all_of_its_memory(kind):
    """Examples with 8 and 9 tokens of memory, 6 and 7 of the stream, and padding in both."""
    depends, params = dependence(kind)
    stream, memory = depends(params, small_batch([[(8, 6), (9, 7)]]))
    expected = np.zeros((SMALL_L, SMALL_L), bool)
    for start, end in ((0, 6), (6, 13), (13, 16)):
        expected[start:end, start:end] = np.tri(end - start, dtype=bool)
    np.testing.assert_array_equal(stream, expected)
    expected = np.zeros((SMALL_L, SMALL_M), bool)
    expected[0:6, 0:8] = expected[6:13, 8:17] = True  # padding attends to no memory
    np.testing.assert_array_equal(memory, expected)


@every_kind
def test_an_example_without_memory_attends_to_nothing(kind):
    depends, params = dependence(kind)
    stream, memory = depends(params, small_batch([[(0, 6), (20, 7)]]))
    assert np.asarray(stream)[:6, :6].tolist() == np.tri(6, dtype=bool).tolist()
    assert not np.asarray(memory)[:6].any()
    assert np.asarray(memory)[6:13].all()
    hidden = tiny.hidden(tiny_model(kind))(params, small_batch([[(0, 6), (20, 7)], []]))
    assert bool(jnp.all(jnp.isfinite(hidden)))


# ---- one stack for both ----


@all_executions
def test_a_shared_stack_equals_two_equal_stacks(context):
    """Same hidden states; its gradient is the sum of both, cross attention's is the decoder's."""
    batch = small_batch([[(8, 6), (9, 7)], [(20, 16)]])
    one, two = (tiny_model(kind, context) for kind in ("t5 shared", "t5"))
    shared = drawn(one)
    layers = {k: v for k, v in shared["decoder"]["layers"].items() if not k.startswith("cross")}
    encoder = {"layers": layers, "final_norm": shared["decoder"]["final_norm"]}

    def gradient(model):
        def total(params):
            return jnp.sum(jnp.sin(model.apply({"params": params}, batch, False).hidden))

        return jax.jit(jax.value_and_grad(total))

    value, found = gradient(one)(shared)
    expected_value, expected = gradient(two)({**shared, "encoder": encoder})
    assert float(value) == pytest.approx(float(expected_value), rel=1e-4)
    decoder, encoder = tiny.named(expected.pop("decoder")), tiny.named(expected.pop("encoder"))
    summed = {key: value + encoder.get(key, 0) for key, value in decoder.items()}
    assert_close(tiny.named(found.pop("decoder")), summed, 1e-5)
    assert_close(found, expected, 1e-5)


def test_a_shared_stack_has_the_decoders_parameters():
    apart = tiny.named(shapes_of(tiny_model("t5")))
    shared, unrolled = (init(tiny_model("t5 shared", context)) for context in CONTEXTS[:2])
    assert {k: v.shape for k, v in tiny.named(shared).items()} == {
        k: v.shape for k, v in apart.items() if not k.startswith("encoder/")
    }
    for key, value in tiny.named(shared).items():
        np.testing.assert_array_equal(value, tiny.named(unrolled)[key], err_msg=key)
        if key.endswith("kernel"):
            assert not np.array_equal(value[0], value[1]), key


class Twice(nn.Module):
    """Applies one stack twice to the same input."""

    stack: Any

    @nn.compact
    def __call__(self, x, context):
        stack = self.stack(name="stack", build_context=BuildContext())
        return stack(x, context), stack(x, context)


@pytest.mark.parametrize("inside", [True, False], ids=["layers", "ends"])
def test_a_stack_used_twice_draws_noise_twice(inside):
    t5 = T5Layers(jnp.float32, 32, 4, 8, 0.5)
    none = factory(nn.Dropout, rate=0.0)
    other = (
        {"ends": none} if inside else {"residual": PreNorm(factory(RMSNorm, epsilon=1e-6), none)}
    )
    stack = t5.stack(2, t5.feed_forward(16, nn.relu))
    context = Context(Mask(jnp.ones((1, 5), jnp.int32), None, "full"), True)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    module = Twice(factory(stack.module, **dict(stack.arguments) | other))
    (first, second), _ = jax.jit(module.init_with_output)(keys, jnp.ones((1, 5, 32)), context)
    assert not np.allclose(first, second)
    # In T5, dropout drops the same features at all positions of a row.
    np.testing.assert_allclose(first, jnp.broadcast_to(first[:, :1], first.shape), atol=1e-6)


# ---- the encoder alone ----


@released
def test_the_encoder_alone_computes_the_memory(name):
    """A decoder that does not look at its own stream would see exactly these hidden states."""
    both: Any
    alone: Any
    both, alone = tiny.build(name), tiny.build(f"{name}_encoder")
    params = init(both)
    names = tiny.named(init(alone)).keys()
    assert names < tiny.named(params).keys()
    assert not any(key.startswith("decoder") for key in names)
    draw = np.random.default_rng(0)
    tokens = draw.integers(1, 30, (2, 12)).astype(np.int32)
    segments = np.array([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12], np.int32)
    positions = np.where(segments == 2, np.arange(12) - 5, np.arange(12)).astype(np.int32)
    stream = {"tokens": tokens, "segments": segments, "positions": positions}
    memory = {f"memory_{key}": value for key, value in stream.items()}
    _, state = both.apply(
        {"params": params},
        {**memory, **stream},
        False,
        capture_intermediates=lambda module, _: module.name == "encoder",
    )
    (expected,) = state["intermediates"]["encoder"]["__call__"]
    kept = {key: params[key] for key in params if key in {n.split("/")[0] for n in names}}
    hidden = alone.apply({"params": kept}, stream, False).hidden
    real = segments > 0
    np.testing.assert_allclose(hidden[real], expected[real], atol=1e-5)


# ---- initial values and sizes ----


@pytest.mark.parametrize("name", ["t5", "t5_1_1", "t5_lm", "transformer"])
def test_initial_values_are_as_documented(name):
    d, k, f, v = 128, 32, 512, 1000
    head_width: dict[str, Any] = {} if name == "transformer" else {"head_width": k}
    model = tiny.build(name, width=d, feed_forward=f, vocab_size=v, **head_width)
    expected = {"tokens": 1.0, "table": (2 / (32 + 4)) ** 0.5, "output/table": d**-0.5}
    expected |= {"query/kernel": (d * k) ** -0.5, "out/kernel": (4 * k) ** -0.5}
    expected |= {"down/kernel": f**-0.5, "kernel": d**-0.5}
    if name == "transformer":
        del expected["query/kernel"], expected["out/kernel"]
        expected |= {"tokens": d**-0.5, "up/kernel": (2 / (d + f)) ** 0.5}
        expected |= {"down/kernel": (2 / (d + f)) ** 0.5}
    for key, value in tiny.named(init(model)).items():
        if key.endswith(("bias", "scale")):
            assert np.all(value == (1 if key.endswith("scale") else 0)), key
            continue
        value = value[:v] if key.endswith(("tokens", "output/table")) else value
        ending = max((end for end in expected if key.endswith(end)), key=len)
        error = 4 / math.sqrt(2 * value.size)
        assert float(jnp.std(value)) == pytest.approx(expected[ending], rel=error), key


def count(name: str, **sizes: Any) -> int:
    model = tiny.architecture(name).build(BuildContext(pad_vocab_to=1), **sizes)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(model)))


def test_published_sizes():
    """t5-3b's head width is not D / H; T5 1.1 has gated feed-forwards; see also test_configs."""
    sizes = {"vocab_size": 32128, "layers": 24, "width": 1024, "heads": 32, "head_width": 128}
    assert count("t5", feed_forward=16384, **sizes) == 2_851_598_336
    sizes = {"vocab_size": 32128, "layers": 8, "width": 512, "heads": 6, "head_width": 64}
    assert count("t5_1_1", feed_forward=1024, **sizes) == 76_961_152
    sizes = {"vocab_size": 37000, "layers": 6, "width": 512, "heads": 8, "feed_forward": 2048}
    assert count("transformer", **sizes) == 63_045_632


@pytest.mark.parametrize("name", ["t5 shared", "t5_lm"])
def test_the_papers_other_shapes_have_half_the_layers_parameters(name):
    v, n, d, h, f = 32128, 12, 768, 12, 3072
    sizes: dict[str, Any] = {
        "vocab_size": v,
        "layers": n,
        "width": d,
        "heads": h,
        "feed_forward": f,
    }
    name, *shared = name.split()
    found = count(name, head_width=64, **sizes, **dict.fromkeys(shared, True))
    cross = n * (4 * d * d + d) + 32 * h if shared else 0
    assert found == v * d + n * (4 * d * d + 2 * d * f + 2 * d) + d + 32 * h + cross


def test_a_prefix_uses_the_buckets_of_both_directions():
    """Half of the 32 are for later positions, to which causal attention never attends."""
    moved = {}
    for attention in ("causal", "prefix"):
        model = tiny.build("t5_lm", BuildContext(attention), layers=1)
        batch = tiny.pack([[tiny.LENGTH]], prefix=jnp.arange(tiny.LENGTH)[None] < 9)
        if attention == "causal":
            del batch["prefix"]

        def total(params, model=model, batch=batch):
            output: Any = model.apply({"params": params}, batch, False)
            return jnp.sum(jnp.sin(output.hidden))

        table = jax.jit(jax.grad(total))(drawn(model))["relative_buckets"]["table"]
        moved[attention] = np.flatnonzero(np.any(np.asarray(table) != 0, axis=-1)).tolist()
    assert moved["causal"] == list(range(16))  # distances 0 .. 15, one bucket each
    assert moved["prefix"] == [*range(10), *range(17, 25)]  # back 0 .. 15, ahead 1 .. 8


# ---- the 2017 Transformer, from the paper's formulas, in float64 ----


def norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return centred / deviation * p["scale"] + p["bias"]


def attention(p, x, memory, mask):
    q = np.einsum("ld,dhk->hlk", x, p["query"]["kernel"])
    k, v = (np.einsum("md,dhk->hmk", memory, p[name]["kernel"]) for name in ("key", "value"))
    scores = np.where(mask, np.einsum("hlk,hmk->hlm", q, k) / np.sqrt(q.shape[-1]), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hlm,hmk,hkd->ld", weights, v, p["out"]["kernel"])


def formula(params, source, target):
    """Logits [L, V] of one example."""
    table = params["embedding"]["tokens"]
    width = table.shape[1]

    def embed(tokens):
        return table[tokens] * np.sqrt(width) + sinusoids(np.arange(len(tokens)), width)

    memory, x = embed(source), embed(target)
    for stack in ("encoder", "decoder"):
        for i in range(2):
            p = jax.tree.map(lambda leaf, i=i: leaf[i], params[stack]["layers"])
            if stack == "encoder":
                seen = attention(p["attention"], memory, memory, True)
                memory = norm(p["attention_norm"], memory + seen)
                memory = norm(p["feed_forward_norm"], memory + feed_forward(p, memory))
                continue
            seen = attention(p["attention"], x, x, np.tri(len(x), dtype=bool))
            x = norm(p["attention_norm"], x + seen)
            seen = attention(p["cross_attention"], x, memory, True)
            x = norm(p["cross_attention_norm"], x + seen)
            x = norm(p["feed_forward_norm"], x + feed_forward(p, x))
    return x @ table.T


def feed_forward(p, x):
    up, down = p["feed_forward"]["up"], p["feed_forward"]["down"]
    return np.maximum(x @ up["kernel"] + up["bias"], 0) @ down["kernel"] + down["bias"]


def test_the_transformer_of_2017_equals_the_papers_formulas():
    """Two examples in one row; each equals the formulas for it alone."""
    model = tiny_model("transformer")
    params, batch = dependence("transformer")[1], small_batch([[(8, 6), (9, 7)]])
    hidden = tiny.hidden(model)(params, batch)[0]
    logits = hidden @ params["embedding"]["tokens"].T
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    source, target = np.asarray(batch["memory_tokens"][0]), np.asarray(batch["tokens"][0])
    for memory, stream in ((slice(0, 8), slice(0, 6)), (slice(8, 17), slice(6, 13))):
        expected = formula(exact, source[memory], target[stream])
        assert_close({"logits": logits[stream]}, {"logits": expected}, 1e-5)
