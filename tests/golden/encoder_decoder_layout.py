"""Hugging Face's T5 arrays as this package's parameter tree, in plain numpy.

Parameters and gradients have the same names and shapes, so one function serves both; see layout.py
for the letters.

>>> golden = np.load("tests/golden/t5.npz")
>>> tree = t5_tree(section(golden, "parameters"))
>>> tree["decoder"]["layers"]["cross_attention"]["query"]["kernel"].shape
(3, 32, 4, 8)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

HEADS = 4
Arrays = Mapping[str, np.ndarray]
Tree = dict[str, Any]
KERNELS = {"wi": "up", "wi_0": "gate", "wi_1": "up", "wo": "down"}


def section(golden: Arrays, name: str) -> dict[str, np.ndarray]:
    """The arrays called `name/...`, without that prefix; `name` is parameters or gradients."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): golden[key] for key in golden if key.startswith(prefix)}


def t5_tree(arrays: Arrays, heads: int = HEADS) -> Tree:
    """T5ForConditionalGeneration, 1.0 (ReLU, tied) or 1.1 (gated GELU, a separate output matrix).

    `nn.Linear` stores [out, in]; kernels here are [in, out]. The first layer of each stack holds
    the table of relative positions. The vocabulary is not padded: the caller pads it.
    """
    tree: Tree = {"embedding": {"tokens": arrays["shared.weight"]}}
    parts = {
        "encoder": ("SelfAttention", "ff"),
        "decoder": ("SelfAttention", "EncDecAttention", "ff"),
    }
    for stack, kinds in parts.items():
        layers: Tree = {}
        for number, kind in enumerate(kinds):
            at = f"{stack}.block.{{}}.layer.{number}"
            name = {"SelfAttention": "attention", "EncDecAttention": "cross_attention"}.get(
                kind, "feed_forward"
            )
            part = (
                _feed_forward(arrays, at) if kind == "ff" else _attention(arrays, at, kind, heads)
            )
            layers |= {
                name: part,
                f"{name}_norm": {"scale": _stack(arrays, f"{at}.layer_norm.weight")},
            }
        final = arrays[f"{stack}.final_layer_norm.weight"]
        tree[stack] = {"layers": layers, "final_norm": {"scale": final}}
        table = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        tree[f"{stack}_buckets"] = {"table": arrays[table]}
    if "lm_head.weight" in arrays:
        tree["output"] = {"table": arrays["lm_head.weight"]}
    return tree


def _attention(arrays: Arrays, at: str, kind: str, heads: int) -> Tree:
    kernels = {part: _stack(arrays, f"{at}.{kind}.{part}.weight").swapaxes(1, 2) for part in "qkvo"}
    split = {part: kernels[part].reshape(*kernels[part].shape[:2], heads, -1) for part in "qkv"}
    out = kernels["o"].reshape(len(kernels["o"]), heads, -1, kernels["o"].shape[2])
    names = zip(("query", "key", "value", "out"), (*split.values(), out), strict=True)
    return {name: {"kernel": kernel} for name, kernel in names}


def _feed_forward(arrays: Arrays, at: str) -> Tree:
    names = {theirs: f"{at}.DenseReluDense.{theirs}.weight" for theirs in KERNELS}
    return {
        KERNELS[theirs]: {"kernel": _stack(arrays, name).swapaxes(1, 2)}
        for theirs, name in names.items()
        if name.format(0) in arrays
    }


def _stack(arrays: Arrays, template: str) -> np.ndarray:
    """The arrays of all layers, [N, ...]; `{}` in the template is the layer's number."""
    layers = []
    while (name := template.format(len(layers))) in arrays:
        layers.append(arrays[name])
    return np.stack(layers)
