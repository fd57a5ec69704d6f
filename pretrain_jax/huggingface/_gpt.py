"""The layers of GPT-1 and GPT-2, which name their tensors alike; Conv1D stores [in, out]."""

from collections.abc import Iterator
from typing import Any

from pretrain_jax.huggingface._settings import Sizes
from pretrain_jax.huggingface._table import Row
from pretrain_jax.huggingface._transforms import CONV1D, CONV1D_OUT, VECTOR, Joined, Vocabulary

BASE = "transformer."
CAUSAL = {"name": "causal_lm"}
PARTS = ("query", "key", "value")


def sizes(vocab_size: int, length: int) -> Sizes:
    """The keys that both configs have, with the defaults of their classes."""
    return {
        "vocab_size": ("vocab_size", vocab_size),
        "layers": ("n_layer", 12),
        "width": ("n_embd", 768),
        "heads": ("n_head", 12),
        "max_length": ("n_positions", length),
        "dropout": ("resid_pdrop", 0.1),
        "init_std": ("initializer_range", 0.02),
    }


def dropout(model: Any) -> dict[str, float]:
    """The keys of the other dropout rates; our models have one rate for all."""
    return dict.fromkeys(("embd_pdrop", "attn_pdrop"), model["dropout"])


def table(vocab_size: int, tokens: str, positions: str) -> Iterator[Row]:
    """The rows of both models. tokens, positions: their names of the tables."""
    yield Row("embedding/tokens", f"{BASE}{tokens}.weight", Vocabulary(vocab_size))
    yield Row("embedding/positions", f"{BASE}{positions}.weight")
    ours, theirs = "stack/layers/", BASE + "h.{}."
    attention = ours + "attention/"
    for kind, transform in (("kernel", CONV1D), ("bias", VECTOR)):
        paths = tuple(f"{attention}{part}/{kind}" for part in PARTS)
        yield Row(paths, f"{theirs}attn.c_attn.{WEIGHT[kind]}", Joined(transform))
    yield Row(f"{attention}out/kernel", f"{theirs}attn.c_proj.weight", CONV1D_OUT)
    yield Row(f"{attention}out/bias", f"{theirs}attn.c_proj.bias", VECTOR)
    for part, name in (("attention_norm", "ln_1"), ("feed_forward_norm", "ln_2")):
        yield from norm(ours + part, theirs + name)
    for part, name in (("up", "c_fc"), ("down", "c_proj")):
        yield Row(f"{ours}feed_forward/{part}/kernel", f"{theirs}mlp.{name}.weight", CONV1D)
        yield Row(f"{ours}feed_forward/{part}/bias", f"{theirs}mlp.{name}.bias", VECTOR)


def norm(ours: str, theirs: str) -> Iterator[Row]:
    """The rows of a layer norm."""
    yield Row(f"{ours}/scale", f"{theirs}.weight", VECTOR)
    yield Row(f"{ours}/bias", f"{theirs}.bias", VECTOR)


WEIGHT = {"kernel": "weight", "bias": "bias"}
