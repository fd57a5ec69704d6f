"""Hugging Face's decoder arrays as this package's parameter tree, in plain numpy.

Parameters and gradients have the same names and shapes, so each function serves both:

>>> golden = np.load("tests/golden/gpt2.npz")
>>> tree = gpt2_tree(section(golden, "parameters"))
>>> tree["layers"]["attention"]["query"]["kernel"].shape
(3, 32, 4, 8)

Layers are stacked in front. The vocabulary is not padded: the caller pads it. Shapes: N layers,
D model, H heads, K head width, F feed-forward, V vocabulary, T positions.

A key's bias adds the same number to all scores of a query, which softmax ignores: its gradient is
zero up to rounding. Measure an error there against the largest gradient, not against its own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

HEADS = 4
Arrays = Mapping[str, np.ndarray]
Tree = dict[str, Any]


def section(golden: Arrays, name: str) -> dict[str, np.ndarray]:
    """The arrays called `name/...`, without that prefix; `name` is parameters or gradients."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): golden[key] for key in golden if key.startswith(prefix)}


def gpt1_tree(arrays: Arrays, heads: int = HEADS) -> Tree:
    """OpenAIGPTLMHeadModel: learned positions, no final norm, output tied to the embedding."""
    return {
        "embedding": {
            "tokens": arrays["transformer.tokens_embed.weight"],
            "positions": arrays["transformer.positions_embed.weight"],
        },
        "layers": _gpt_layers(arrays, heads),
    }


def gpt2_tree(arrays: Arrays, heads: int = HEADS) -> Tree:
    """GPT2LMHeadModel: learned positions, final norm, output tied to the embedding."""
    return {
        "embedding": {
            "tokens": arrays["transformer.wte.weight"],
            "positions": arrays["transformer.wpe.weight"],
        },
        "layers": _gpt_layers(arrays, heads),
        "final_norm": {
            "scale": arrays["transformer.ln_f.weight"],
            "bias": arrays["transformer.ln_f.bias"],
        },
    }


def llama_tree(arrays: Arrays, heads: int = HEADS, kv_heads: int = HEADS) -> Tree:
    """LlamaForCausalLM: no biases, a separate output matrix, and any number of key heads.

    `nn.Linear` stores [out, in]; kernels here are [in, out]. The head width keeps its order: the
    rotary pairs are (i, i + K / 2) on both sides.
    """

    def kernel(name: str) -> np.ndarray:
        return _stack(arrays, f"model.layers.{{}}.{name}_proj.weight").swapaxes(1, 2)

    attention: Tree = {
        ours: {"kernel": _split_heads(kernel(f"self_attn.{ours[0]}"), count)}
        for ours, count in {"query": heads, "key": kv_heads, "value": kv_heads}.items()
    }
    attention["out"] = {"kernel": _split_rows(kernel("self_attn.o"), heads)}
    layers = {
        "attention": attention,
        "attention_norm": {"scale": _stack(arrays, "model.layers.{}.input_layernorm.weight")},
        "feed_forward": {
            name: {"kernel": kernel(f"mlp.{name}")} for name in ("gate", "up", "down")
        },
        "feed_forward_norm": {
            "scale": _stack(arrays, "model.layers.{}.post_attention_layernorm.weight")
        },
    }
    return {
        "embedding": {"tokens": arrays["model.embed_tokens.weight"]},
        "layers": layers,
        "final_norm": {"scale": arrays["model.norm.weight"]},
        "output": {"kernel": arrays["lm_head.weight"].T},
    }


def _gpt_layers(arrays: Arrays, heads: int) -> Tree:
    """GPT-1 and GPT-2 name a layer's arrays alike; their `Conv1D` stores [in, out]."""

    def pair(name: str, weight: str) -> Tree:
        return {
            weight: _stack(arrays, f"transformer.h.{{}}.{name}.weight"),
            "bias": _stack(arrays, f"transformer.h.{{}}.{name}.bias"),
        }

    joined = pair("attn.c_attn", "kernel")
    thirds = {part: np.split(array, 3, axis=-1) for part, array in joined.items()}
    attention: Tree = {
        name: {part: _split_heads(third[i], heads) for part, third in thirds.items()}
        for i, name in enumerate(("query", "key", "value"))
    }
    out = pair("attn.c_proj", "kernel")
    attention["out"] = {"kernel": _split_rows(out["kernel"], heads), "bias": out["bias"]}
    return {
        "attention": attention,
        "attention_norm": pair("ln_1", "scale"),
        "feed_forward": {"up": pair("mlp.c_fc", "kernel"), "down": pair("mlp.c_proj", "kernel")},
        "feed_forward_norm": pair("ln_2", "scale"),
    }


def _stack(arrays: Arrays, template: str) -> np.ndarray:
    """The arrays of all layers, [N, ...]; `{}` in the template is the layer's number."""
    layers = []
    while (name := template.format(len(layers))) in arrays:
        layers.append(arrays[name])
    return np.stack(layers)


def _split_heads(array: np.ndarray, heads: int) -> np.ndarray:
    """[..., H * K] to [..., H, K]."""
    return array.reshape(*array.shape[:-1], heads, -1)


def _split_rows(array: np.ndarray, heads: int) -> np.ndarray:
    """[N, H * K, D] to [N, H, K, D]."""
    return array.reshape(array.shape[0], heads, -1, array.shape[2])
