"""LLaMA's options against transformers, and shared keys against repeated ones."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from pretrain_jax import losses
from pretrain_jax.layers import rope_scaling
from pretrain_jax.layers.embeddings import padded_size
from pretrain_jax.layers.positions import frequencies
from pretrain_jax.layers.stacks import BuildContext

GOLDEN = Path(__file__).parents[1] / "golden"
layout: Any = SimpleNamespace(**runpy.run_path(str(GOLDEN / "layout.py")))
HEADS, WIDTH, VOCAB, LENGTH = 6, 48, 61, 24
SIZES = {"layers": 2, "width": WIDTH, "heads": HEADS, "feed_forward": 40, "vocab_size": VOCAB}
PLAIN: dict[str, Any] = {"kv_heads": 0, "head_width": 0}
LINEAR = {"rope_scaling": "linear", "rope_factor": 4.0}
LLAMA3 = {"rope_scaling": "llama3", "rope_factor": 8.0, "rope_original_length": 32}
YARN = {"rope_scaling": "yarn", "rope_factor": 4.0, "rope_original_length": 512}
CASES: dict[str, dict[str, Any]] = {
    "one key head per head": PLAIN,
    "three heads per key head": PLAIN | {"kv_heads": 2},
    "one key head": PLAIN | {"kv_heads": 1},
    "wider heads": PLAIN | {"head_width": 14},
    "tied": PLAIN | {"tied": True},
    "another base": PLAIN | {"rope_base": 500.0},
    "linear": PLAIN | LINEAR,
    "llama3": PLAIN | LLAMA3,
    "yarn": PLAIN | YARN,
    "all": {"kv_heads": 3, "head_width": 10, "tied": True, "rope_base": 500.0, **LLAMA3},
}
NAMES = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_length": "original_max_position_embeddings",
}
"""Hugging Face's names of the options of a scaling."""


def rope_parameters(name: str, base: float, **options: Any) -> dict[str, Any]:
    """Rotary positions as in a config of transformers 5."""
    scaling = rope_scaling.build(name, **options)
    theirs = {NAMES[key]: value for key, value in vars(scaling).items()}
    kind = "default" if name == "none" else name
    return {"rope_type": kind, "rope_theta": base, **theirs}


def scaled(options: dict[str, Any]) -> dict[str, Any]:
    """rope_parameters of the options of models.llama.build."""
    given: dict[str, Any] = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    given |= {key.removeprefix("rope_"): v for key, v in options.items() if "rope_" in key}
    base = given.pop("base", 10000.0)
    return rope_parameters(given.pop("scaling", "none"), base, **given)


def hugging_face(options: dict[str, Any]) -> Any:
    """A LlamaForCausalLM with large random weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    kv_heads = options["kv_heads"] or HEADS
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=kv_heads,
        head_dim=options["head_width"] or WIDTH // HEADS,
        intermediate_size=40,
        vocab_size=VOCAB,
        max_position_embeddings=128,
        rms_norm_eps=1e-6,
        rope_parameters=scaled(options),
        tie_word_embeddings=options.get("tied", False),
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator) + (weight.ndim == 1))
    return model


def ours(model: Any, options: dict[str, Any]) -> Any:
    """Its weights as our tree."""
    arrays = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    tree = layout.llama_tree(arrays, HEADS, options["kv_heads"] or HEADS)
    pad = ((0, padded_size(VOCAB) - VOCAB), (0, 0))
    output = {"output": {"table": np.pad(tree["output"]["kernel"].T, pad)}}
    params = {
        "embedding": {"tokens": np.pad(tree["embedding"]["tokens"], pad)},
        "stack": {key: tree[key] for key in ("layers", "final_norm")},
        **({} if options.get("tied") else output),
    }
    return jax.tree.map(jnp.asarray, params)


def logits(model: Any, params: Any, tokens: np.ndarray) -> Any:
    """[B, L, V]."""
    batch = tiny.pack([[LENGTH]] * len(tokens), LENGTH, tokens=tokens)
    output = model.apply({"params": params}, batch, False)
    flat = output.hidden.reshape(-1, output.hidden.shape[-1])
    found = losses.compute_logits(flat, output.readout)
    return found.reshape(*tokens.shape, -1)[..., :VOCAB]


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("case", CASES)
def test_logits_equal_hugging_faces(case, backend):
    reference = hugging_face(CASES[case])
    torch = pytest.importorskip("torch")
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, LENGTH))
    with torch.no_grad():
        expected = reference(torch.tensor(tokens)).logits.numpy()
    model = tiny.build("llama", BuildContext(attention_backend=backend), **SIZES, **CASES[case])
    params = ours(reference, CASES[case])
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, tiny.init(model))
    found = logits(model, params, tokens)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(expected) > 1


@pytest.mark.parametrize(
    ("name", "base", "width", "options"),
    [
        ("none", 5e5, 128, {}),
        ("linear", 1e4, 128, {"factor": 4.0}),
        # LLaMA 3.1, and LLaMA 3.2 1B.
        *(
            ("llama3", 5e5, width, {"factor": factor, "low_freq_factor": 1.0,
             "high_freq_factor": 4.0, "original_length": 8192})
            for width, factor in ((128, 8.0), (64, 32.0))
        ),
        ("yarn", 1e4, 128, {"factor": 16.0, "original_length": 4096}),
        ("yarn", 1e4, 128, {"factor": 1.0, "original_length": 4096}),
        ("yarn", 1e4, 8, {"factor": 2.0, "original_length": 40}),  # the ramp begins before pair 0
    ],
)  # fmt: skip
def test_frequencies_equal_hugging_faces(name, base, width, options):
    transformers = pytest.importorskip("transformers")
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    theirs = rope_parameters(name, base, **options)
    config = transformers.LlamaConfig(
        head_dim=width, max_position_embeddings=131072, rope_parameters=theirs
    )
    expected = llama.LlamaRotaryEmbedding(config)
    scaling = rope_scaling.build(name, **options)
    found = scaling.rescale(frequencies(width, base), base)
    np.testing.assert_allclose(found, expected.inv_freq.numpy(), rtol=1e-6)
    assert scaling.magnitude == pytest.approx(expected.attention_scaling, rel=1e-12)


def test_llama_3_keeps_fast_pairs_and_divides_slow_ones():
    """8,192 positions: pair k of 64 turns 8192 / (2 pi 500000^(k / 64)) times."""
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling = rope_scaling.build("llama3", original_length=8192, **llama3)
    plain = frequencies(128, 5e5)
    ratio = plain / scaling.rescale(plain, 5e5)
    turns = 8192 * plain / (2 * np.pi)
    np.testing.assert_allclose(ratio[turns >= 4], 1, rtol=1e-12)
    np.testing.assert_allclose(ratio[turns <= 1], 8, rtol=1e-12)
    between = ratio[(turns > 1) & (turns < 4)]
    assert len(between) > 2 and np.all(np.diff(ratio) >= -1e-9)
    assert np.all((between > 1) & (between < 8))


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_shared_keys_equal_repeated_ones(backend):
    """With the kernel of key head g repeated for heads g R .. g R + R - 1, hidden states are the
    same, and the gradient of a shared kernel is the sum of those of its copies."""
    context = BuildContext(attention_backend=backend)
    shared, single = (tiny.build("llama", context, kv_heads=n) for n in (2, 4))
    batch = tiny.pack([[9, 4], [16]])
    params = tiny.randomise(tiny.init(shared))

    def change(tree: Any, axis_4: Any) -> Any:
        """axis_4 of the kernels [N, D, H, K] of keys and values."""
        edit = lambda name, leaf: axis_4(leaf) if "/key/" in name or "/value/" in name else leaf  # noqa: E731
        return {name: edit(name, leaf) for name, leaf in tiny.named(tree).items()}

    copies = jax.tree.unflatten(
        jax.tree.structure(params),
        change(params, lambda kernel: jnp.repeat(kernel, 2, axis=2)).values(),
    )
    total = lambda model: lambda params: jnp.sum(jnp.sin(tiny.hidden(model)(params, batch)))  # noqa: E731
    np.testing.assert_allclose(
        tiny.hidden(shared)(params, batch), tiny.hidden(single)(copies, batch), atol=2e-5
    )
    expected = change(
        jax.grad(total(single))(copies),
        lambda g: g.reshape(*g.shape[:2], 2, 2, g.shape[3]).sum(3),
    )
    for name, gradient in tiny.named(jax.grad(total(shared))(params)).items():
        scale = float(jnp.max(jnp.abs(expected[name])))
        np.testing.assert_allclose(gradient, expected[name], atol=2e-5 * scale, err_msg=name)


def test_tied_and_untied_parameters():
    tied, untied = (tiny.named(tiny.init(tiny.build("llama", tied=t))) for t in (True, False))
    assert untied.keys() - tied.keys() == {"output/table"}
    assert tied.keys() < untied.keys()
