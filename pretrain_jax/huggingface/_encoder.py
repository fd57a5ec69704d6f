"""What BERT, RoBERTa and ELECTRA share: they name the tensors of embeddings and layers alike."""

from collections.abc import Iterator
from typing import Any

from pretrain_jax.huggingface._settings import Fixed, Sizes
from pretrain_jax.huggingface._table import Row
from pretrain_jax.huggingface._transforms import (
    LINEAR,
    LINEAR_OUT,
    SAME,
    VECTOR,
    Transform,
    Vocabulary,
)

SIZES: Sizes = {
    "vocab_size": ("vocab_size", 30522),
    "layers": ("num_hidden_layers", 12),
    "width": ("hidden_size", 768),
    "heads": ("num_attention_heads", 12),
    "feed_forward": ("intermediate_size", 3072),
    "max_length": ("max_position_embeddings", 512),
    "types": ("type_vocab_size", 2),
    "dropout": ("hidden_dropout_prob", 0.1),
    "init_std": ("initializer_range", 0.02),
}
FIXED: Fixed = {
    "hidden_act": (("gelu", "gelu_python"), "gelu"),  # with the error function
    "layer_norm_eps": ((1e-12,), 1e-12),
    "tie_word_embeddings": ((True,), True),
}


def dropout(model: Any) -> dict[str, float]:
    """The key of the other dropout rate; our models have one rate for all."""
    return {"attention_probs_dropout_prob": model["dropout"]}


def embedding(
    theirs: str, vocab_size: int, types: int, positions: Transform = SAME
) -> Iterator[Row]:
    """The rows of the tables and the norm of their sum."""
    yield Row("embedding/tokens", f"{theirs}.word_embeddings.weight", Vocabulary(vocab_size))
    yield Row("embedding/positions", f"{theirs}.position_embeddings.weight", positions)
    if types:
        yield Row("embedding/types", f"{theirs}.token_type_embeddings.weight")
    yield from norm("embedding/norm", f"{theirs}.LayerNorm")


def layers(ours: str, theirs: str) -> Iterator[Row]:
    """The rows of a stack of post-norm blocks."""
    ours, theirs = f"{ours}/layers/", theirs + ".layer.{}."
    for part in ("query", "key", "value"):
        yield from linear(f"{ours}attention/{part}", f"{theirs}attention.self.{part}")
    yield from linear(f"{ours}attention/out", f"{theirs}attention.output.dense", LINEAR_OUT)
    yield from norm(f"{ours}attention_norm", f"{theirs}attention.output.LayerNorm")
    yield from linear(f"{ours}feed_forward/up", f"{theirs}intermediate.dense")
    yield from linear(f"{ours}feed_forward/down", f"{theirs}output.dense")
    yield from norm(f"{ours}feed_forward_norm", f"{theirs}output.LayerNorm")


def linear(ours: str, theirs: str, kernel: Transform = LINEAR) -> Iterator[Row]:
    """The rows of a linear map with a bias."""
    yield Row(f"{ours}/kernel", f"{theirs}.weight", kernel)
    yield Row(f"{ours}/bias", f"{theirs}.bias", VECTOR)


def norm(ours: str, theirs: str) -> Iterator[Row]:
    """The rows of a layer norm."""
    yield Row(f"{ours}/scale", f"{theirs}.weight", VECTOR)
    yield Row(f"{ours}/bias", f"{theirs}.bias", VECTOR)
