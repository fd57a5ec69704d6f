"""Writes gpt1.npz, gpt2.npz and llama.npz: what Hugging Face's decoders compute, to compare with.

    python tests/golden/make_decoders.py

For developers: it needs torch and transformers, which this package does not. The arrays in the
repository were made with torch 2.13.0 (CPU), transformers 5.23.0 and numpy 2.4.6. No network.

Each file holds a tiny model with random parameters that are large enough for every part to
matter (all ~ N(0, 0.2), norm gains ~ 1 + N(0, 0.2), biases too), eager attention, no dropout:

    config/NAME         layers, width, heads, feed_forward, vocab_size, seq_len, norm_epsilon,
                        and rope_base for LLaMA
    tokens              [2, 24] int32, both rows full
    parameters/NAME     float32, under Hugging Face's names and in its orientation; tied once
    hidden              [layers + 1, 2, 24, 32]: into the first layer, then out of each (before
                        the final norm)
    logits              [2, 24, 61]
    loss                mean next-token cross entropy in nats over positions 0..22 of both rows
    gradients/NAME      of that loss
    noise/NAME          largest |float32 - float64| over largest |float64|, of logits and hidden,
                        and of the worst array among the gradients

**Results are computed in float64 and stored as float32**, from parameters that float32 holds
exactly: the reference then has one rounding only, and `noise` says how far Hugging Face's own
float32 results lie from it. Before writing, logits are rebuilt from `layout.py`'s tree by a
second implementation (below, from the papers' formulas) and the gradients compared with its
slope, so the mapping of names is proved.
"""

# torch and transformers are not dependencies of the package.
# pyright: reportMissingImports=false

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from layout import HEADS, Tree, gpt1_tree, gpt2_tree, llama_tree
from torch.overrides import TorchFunctionMode

LAYERS, WIDTH, VOCAB, LENGTH, ROWS = 3, 32, 61, 24, 2
ROPE_BASE = 10000.0
Results = dict[str, np.ndarray]


@dataclass(frozen=True)
class Decoder:
    """One architecture: how Hugging Face builds it, and where its tree and layers are."""

    model: Callable[[Any], torch.nn.Module]
    config: Any
    blocks: str
    tree: Callable[[Results], Tree]
    feed_forward: int
    norm_epsilon: float
    seed: int


_GPT_SIZES = {"n_layer": LAYERS, "n_embd": WIDTH, "n_head": HEADS, "n_positions": LENGTH}
_NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_SHARED = {
    "vocab_size": VOCAB,
    "bos_token_id": None,
    "eos_token_id": None,
    "attn_implementation": "eager",
}
DECODERS = {
    "gpt1": Decoder(
        model=transformers.OpenAIGPTLMHeadModel,
        # "gelu" is the tanh approximation in this class (its ACT_FNS).
        config=transformers.OpenAIGPTConfig(afn="gelu", **_GPT_SIZES, **_NO_DROPOUT, **_SHARED),
        blocks="transformer.h",
        tree=gpt1_tree,
        feed_forward=4 * WIDTH,
        norm_epsilon=1e-5,
        seed=1,
    ),
    "gpt2": Decoder(
        model=transformers.GPT2LMHeadModel,
        config=transformers.GPT2Config(
            activation_function="gelu_new", **_GPT_SIZES, **_NO_DROPOUT, **_SHARED
        ),
        blocks="transformer.h",
        tree=gpt2_tree,
        feed_forward=4 * WIDTH,
        norm_epsilon=1e-5,
        seed=2,
    ),
    "llama": Decoder(
        model=transformers.LlamaForCausalLM,
        config=transformers.LlamaConfig(
            num_hidden_layers=LAYERS,
            hidden_size=WIDTH,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            intermediate_size=88,
            hidden_act="silu",
            max_position_embeddings=LENGTH,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
            tie_word_embeddings=False,
            **_SHARED,
        ),
        blocks="model.layers",
        tree=llama_tree,
        feed_forward=88,
        norm_epsilon=1e-6,
        seed=3,
    ),
}


class NoFloat32(TorchFunctionMode):
    """Reads float32 as float64 in every call: LLaMA's code asks for float32 in its norm, softmax
    and rotary table even when the model is float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def widen(value):
            return torch.float64 if value is torch.float32 else value

        if func is torch.Tensor.float:
            func = torch.Tensor.double
        args = tuple(map(widen, args))
        return func(*args, **{key: widen(v) for key, v in (kwargs or {}).items()})


def main() -> None:
    """Writes the three files next to this one and prints the noise of float32 in each."""
    torch.set_num_threads(1)  # the same bytes in every run
    print("largest |float32 - float64| over largest |float64|; for gradients, the worst array")
    print(f"{'':8}{'loss':>8}{'logits':>10}{'hidden':>10}{'gradients':>11}")
    for name, decoder in DECODERS.items():
        rng = np.random.default_rng(decoder.seed)
        tokens = rng.integers(VOCAB, size=(ROWS, LENGTH), dtype=np.int32)
        parameters = draw(decoder, rng)
        exact = compute(decoder, parameters, tokens, torch.float64)
        check(name, parameters, tokens, exact, rng)
        single = compute(decoder, parameters, tokens, torch.float32)
        noise, worst = deviations(single, exact)
        golden = {f"config/{key}": np.asarray(value) for key, value in sizes(name).items()}
        golden |= {"tokens": tokens}
        golden |= {f"parameters/{key}": value for key, value in parameters.items()}
        golden |= {key: value.astype(np.float32) for key, value in exact.items()}
        golden |= {f"noise/{key}": np.asarray(value) for key, value in noise.items()}
        path = Path(__file__).with_name(f"{name}.npz")
        np.savez_compressed(path, **golden)  # pyright: ignore[reportArgumentType]
        print(
            f"{name:8}{exact['loss']:8.4f}{noise['logits']:10.1e}{noise['hidden']:10.1e}"
            f"{noise['gradients']:11.1e}  {worst}; {path.stat().st_size // 1000} kB"
        )


def sizes(name: str) -> dict[str, float]:
    """The numbers needed to build the same model."""
    decoder = DECODERS[name]
    numbers = {"layers": LAYERS, "width": WIDTH, "heads": HEADS, "vocab_size": VOCAB}
    numbers |= {"feed_forward": decoder.feed_forward, "seq_len": LENGTH}
    rope = {"rope_base": ROPE_BASE} if name == "llama" else {}
    return numbers | {"norm_epsilon": decoder.norm_epsilon} | rope


def draw(decoder: Decoder, rng: np.random.Generator) -> Results:
    """Random float32 parameters under Hugging Face's names; tied ones appear once."""
    parameters = {}
    for name, value in decoder.model(decoder.config).named_parameters():
        gain = name.endswith(".weight") and ("norm" in name or ".ln_" in name)
        parameters[name] = (gain + rng.normal(0, 0.2, value.shape)).astype(np.float32)
    return parameters


def compute(
    decoder: Decoder, parameters: Results, tokens: np.ndarray, dtype: torch.dtype
) -> Results:
    """logits, hidden, loss and gradients/NAME by Hugging Face's code in one dtype."""
    torch.set_default_dtype(dtype)
    if dtype == torch.float64:
        with NoFloat32():
            return _run(decoder, parameters, tokens)
    return _run(decoder, parameters, tokens)


def _run(decoder: Decoder, parameters: Results, tokens: np.ndarray) -> Results:
    model = decoder.model(decoder.config).to(torch.get_default_dtype()).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(parameters[name]))
    blocks: Any = model.get_submodule(decoder.blocks)
    hidden: list[torch.Tensor] = []
    blocks[0].register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    for block in blocks:
        block.register_forward_hook(
            lambda _, __, out: hidden.append(out if isinstance(out, torch.Tensor) else out[0])
        )
    ids = torch.from_numpy(tokens).long()
    logits = model(ids, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    results = {"logits": logits, "hidden": torch.stack(hidden), "loss": loss}
    results |= {f"gradients/{name}": p.grad for name, p in model.named_parameters()}
    return {name: value.detach().numpy() for name, value in results.items()}


def deviations(single: Results, exact: Results) -> tuple[dict[str, float], str]:
    """Relative deviations of `single`, and which gradient has the largest."""

    def relative(name: str) -> float:
        return float(np.abs(single[name] - exact[name]).max() / np.abs(exact[name]).max())

    worst = max((name for name in exact if name.startswith("gradients/")), key=relative)
    noise = {"logits": relative("logits"), "hidden": relative("hidden")}
    return noise | {"gradients": relative(worst)}, worst


# ---- the second implementation: this package's tree, numpy, float64 ----


def check(
    name: str, parameters: Results, tokens: np.ndarray, exact: Results, rng: np.random.Generator
) -> None:
    """Raises AssertionError unless layout.py's tree gives the same logits and slope."""
    decoder = DECODERS[name]
    tree = map_leaves(lambda value: value.astype(np.float64), decoder.tree(parameters))
    logits = forward(name, tree, tokens)
    np.testing.assert_allclose(logits, exact["logits"], rtol=1e-9, atol=1e-9)
    gradients = decoder.tree({key: exact[f"gradients/{key}"] for key in parameters})
    direction = map_leaves(lambda value: rng.normal(size=value.shape), tree)
    step = 1e-6
    ahead, behind = (
        next_token_loss(
            forward(name, map_leaves(lambda p, d, s=s: p + s * d, tree, direction), tokens), tokens
        )
        for s in (step, -step)
    )
    slope = sum(leaves(map_leaves(lambda g, d: np.sum(g * d), gradients, direction)))
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=1e-6)


def forward(name: str, tree: Tree, tokens: np.ndarray) -> np.ndarray:
    """Logits [B, L, V]. GPT-1: post-norm (Radford 2018); GPT-2: pre-norm (Radford 2019); LLaMA:
    pre-norm with RMS norm, rotary positions and SwiGLU (Touvron 2023)."""
    epsilon = DECODERS[name].norm_epsilon
    x = tree["embedding"]["tokens"][tokens]
    if name != "llama":
        x = x + tree["embedding"]["positions"][: tokens.shape[1]]
    for i in range(LAYERS):
        layer = map_leaves(lambda value, i=i: value[i], tree["layers"])
        for part, apply in (("attention", attention), ("feed_forward", feed_forward)):
            if name == "gpt1":
                x = norm(layer[f"{part}_norm"], x + apply(layer[part], x), epsilon)
            else:
                x = x + apply(layer[part], norm(layer[f"{part}_norm"], x, epsilon))
    if "final_norm" in tree:
        x = norm(tree["final_norm"], x, epsilon)
    output = tree["output"]["kernel"] if "output" in tree else tree["embedding"]["tokens"].T
    return x @ output


def norm(p: Tree, x: np.ndarray, epsilon: float) -> np.ndarray:
    """Layer norm where there is a bias (Ba 2016), else RMS norm (Zhang 2019)."""
    if "bias" in p:
        x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * p["scale"] + p.get("bias", 0)


def attention(p: Tree, x: np.ndarray) -> np.ndarray:
    """Causal multi-head attention (Vaswani 2017), queries and keys rotated where no bias is."""
    query, key, value = (
        np.einsum("bld,dhk->bhlk", x, p[name]["kernel"]) + p[name].get("bias", np.zeros(1))[:, None]
        for name in ("query", "key", "value")
    )
    if "bias" not in p["query"]:
        query, key = rotate(query), rotate(key)
    scores = np.einsum("bhik,bhjk->bhij", query, key) / np.sqrt(query.shape[-1])
    scores = np.where(np.tri(x.shape[1], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    read = np.einsum("bhij,bhjk->bihk", weights, value)
    return np.einsum("bihk,hkd->bid", read, p["out"]["kernel"]) + p["out"].get("bias", 0)


def rotate(x: np.ndarray) -> np.ndarray:
    """RoPE (Su 2021) as complex numbers: pair (i, i + K/2) turns by position * base^(-2i / K)."""
    half = x.shape[-1] // 2
    angles = np.outer(np.arange(x.shape[-2]), ROPE_BASE ** (-np.arange(half) / half))
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], axis=-1)


def feed_forward(p: Tree, x: np.ndarray) -> np.ndarray:
    """SwiGLU (Shazeer 2020) if there is a gate, else GELU's tanh approximation (Hendrycks 2016)."""
    up = x @ p["up"]["kernel"] + p["up"].get("bias", 0)
    if "gate" in p:
        gate = x @ p["gate"]["kernel"]
        return (gate / (1 + np.exp(-gate)) * up) @ p["down"]["kernel"]
    active = 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
    return active @ p["down"]["kernel"] + p["down"]["bias"]


def next_token_loss(logits: np.ndarray, tokens: np.ndarray) -> float:
    """Mean of -log p(next token) over all positions but the last."""
    chosen = np.take_along_axis(logits[:, :-1], tokens[:, 1:, None], axis=-1)[..., 0]
    return float(np.mean(np.log(np.exp(logits[:, :-1]).sum(-1)) - chosen))


def map_leaves(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """A tree of the same keys, `function` applied to the arrays."""
    return {
        key: map_leaves(function, value, *(other[key] for other in others))
        if isinstance(value, dict)
        else function(value, *(other[key] for other in others))
        for key, value in tree.items()
    }


def leaves(tree: Tree) -> Iterator[Any]:
    """The values of a nested dict."""
    for value in tree.values():
        yield from leaves(value) if isinstance(value, dict) else [value]


if __name__ == "__main__":
    main()
