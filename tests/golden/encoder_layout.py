"""Hugging Face's encoder arrays as this package's parameter tree, in plain numpy.

Parameters and gradients have the same names and shapes, so each function serves both, and takes
what `layout.section(golden, "parameters")` or `"gradients"` returns. Layers are stacked in front.
The vocabulary is not padded: the caller pads it. `nn.Linear` stores [out, in]; kernels here are
[in, out].
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Tree = dict[str, Any]


def bert_tree(arrays: Arrays) -> Tree:
    """BertForPreTraining: tied output with its own bias, pooler and next-sentence head."""
    return {
        "embedding": _embedding(arrays, "bert.embeddings"),
        "stack": _stack(arrays, "bert.encoder", heads=4),
        "output": {
            "dense": _dense(arrays, "cls.predictions.transform.dense"),
            "norm": _norm(arrays, "cls.predictions.transform.LayerNorm"),
            "bias": arrays["cls.predictions.bias"],
        },
        "next_sentence": {
            "pooler": _dense(arrays, "bert.pooler.dense"),
            "output": _dense(arrays, "cls.seq_relationship"),
        },
    }


def roberta_tree(arrays: Arrays) -> Tree:
    """RobertaForMaskedLM, with its one row of segment types."""
    return {
        "embedding": _embedding(arrays, "roberta.embeddings"),
        "stack": _stack(arrays, "roberta.encoder", heads=4),
        "output": {
            "dense": _dense(arrays, "lm_head.dense"),
            "norm": _norm(arrays, "lm_head.layer_norm"),
            "bias": arrays["lm_head.bias"],
        },
    }


def electra_tree(arrays: Arrays) -> Tree:
    """ElectraForMaskedLM and ElectraForPreTraining as `generator` and `discriminator`, with a
    shared embedding module, which has the generator's name."""
    small, large = "generator.electra", "discriminator.electra"
    read_out, judge = "generator.generator", "discriminator.discriminator_predictions"
    return {
        "embedding": _embedding(arrays, f"{small}.embeddings"),
        "generator": {
            "input": _dense(arrays, f"{small}.embeddings_project"),
            "stack": _stack(arrays, f"{small}.encoder", heads=1),
        },
        "discriminator": {
            "input": _dense(arrays, f"{large}.embeddings_project"),
            "stack": _stack(arrays, f"{large}.encoder", heads=4),
        },
        "generator_output": {
            "dense": _dense(arrays, f"{read_out}_predictions.dense"),
            "norm": _norm(arrays, f"{read_out}_predictions.LayerNorm"),
            "bias": arrays[f"{read_out}_lm_head.bias"],
        },
        "discriminator_output": {
            "dense": _dense(arrays, f"{judge}.dense"),
            "out": _dense(arrays, f"{judge}.dense_prediction"),
        },
    }


def _embedding(arrays: Arrays, name: str) -> Tree:
    return {
        "tokens": arrays[f"{name}.word_embeddings.weight"],
        "positions": arrays[f"{name}.position_embeddings.weight"],
        "types": arrays[f"{name}.token_type_embeddings.weight"],
        "norm": _norm(arrays, f"{name}.LayerNorm"),
    }


def _stack(arrays: Arrays, name: str, heads: int) -> Tree:
    """All three architectures use the same names for a layer's arrays."""
    layers = []
    while f"{name}.layer.{len(layers)}.output.dense.weight" in arrays:
        layers.append(_layer(arrays, f"{name}.layer.{len(layers)}", heads))
    return {"layers": _stacked(layers)}


def _stacked(trees: list[Any]) -> Any:
    if isinstance(trees[0], dict):
        return {key: _stacked([tree[key] for tree in trees]) for key in trees[0]}
    return np.stack(trees)


def _layer(arrays: Arrays, name: str, heads: int) -> Tree:
    attention: Tree = {}
    for part in ("query", "key", "value"):
        dense = _dense(arrays, f"{name}.attention.self.{part}")
        attention[part] = {k: a.reshape(*a.shape[:-1], heads, -1) for k, a in dense.items()}
    out = _dense(arrays, f"{name}.attention.output.dense")
    kernel = out["kernel"]
    attention["out"] = {**out, "kernel": kernel.reshape(heads, -1, kernel.shape[1])}
    return {
        "attention": attention,
        "attention_norm": _norm(arrays, f"{name}.attention.output.LayerNorm"),
        "feed_forward": {
            "up": _dense(arrays, f"{name}.intermediate.dense"),
            "down": _dense(arrays, f"{name}.output.dense"),
        },
        "feed_forward_norm": _norm(arrays, f"{name}.output.LayerNorm"),
    }


def _dense(arrays: Arrays, name: str) -> Tree:
    return {"kernel": arrays[f"{name}.weight"].T, "bias": arrays[f"{name}.bias"]}


def _norm(arrays: Arrays, name: str) -> Tree:
    return {"scale": arrays[f"{name}.weight"], "bias": arrays[f"{name}.bias"]}
