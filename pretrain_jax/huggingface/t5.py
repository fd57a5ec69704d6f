"""T5 1.0 and 1.1: T5ForConditionalGeneration (our models `t5` and `t5_1_1`, also of UL2's runs).

T5 1.0 has ReLU and an output tied to the embedding, with hidden states multiplied by D^-0.5; T5
1.1 has a gated GELU and a matrix of its own. transformers knows the second by
tie_word_embeddings=false and by the presence of lm_head.weight. An encoder that shares the
decoder's layers becomes a copy of them, which computes the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pretrain_jax.errors import ConfigError
from pretrain_jax.huggingface import _settings
from pretrain_jax.huggingface._heads import Head
from pretrain_jax.huggingface._settings import Fixed, Sizes
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Row, Run
from pretrain_jax.huggingface._transforms import LINEAR, LINEAR_OUT, VECTOR, Vocabulary

MODELS = ("t5", "t5_1_1")
FOLDERS = ("",)
SIZES: Sizes = {
    "vocab_size": ("vocab_size", 32128),
    "layers": ("num_layers", 6),
    "width": ("d_model", 512),
    "heads": ("num_heads", 8),
    "head_width": ("d_kv", 64),
    "feed_forward": ("d_ff", 2048),
    "dropout": ("dropout_rate", 0.1),
}
FIXED: Fixed = {
    "layer_norm_epsilon": ((1e-6,), 1e-6),
    "relative_attention_num_buckets": ((32,), 32),
    "relative_attention_max_distance": ((128,), 128),
    "is_encoder_decoder": ((True,), True),
}
ACTIVATIONS = {"t5": "relu", "t5_1_1": "gated-gelu"}
"""feed_forward_proj by model; "gated-gelu" means the tanh form."""
LONGEST = 512
"""Rows of the published models; relative positions allow any length."""
POOLED = Head(
    "classification_head.out_proj", pooler="classification_head.dense", base="transformer."
)
HEADS = {"classify": POOLED, "regress": POOLED}


def body(run: Run) -> Folder:
    """T5Model."""
    model = run.model
    rows = (
        Row("embedding/tokens", "shared.weight", Vocabulary(model["vocab_size"])),
        *stack("encoder", "decoder" if model["shared"] else "encoder", model["name"]),
        *stack("decoder", "decoder", model["name"]),
    )
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    return Folder(
        "T5Model",
        "AutoModel",
        base="",
        config={
            **_settings.write(model, SIZES, FIXED),
            "num_decoder_layers": model["layers"],
            "feed_forward_proj": ACTIVATIONS[model["name"]],
            "tie_word_embeddings": is_tied(run),
            "n_positions": run.longest,
            "decoder_start_token_id": run.pad,
        },
        layers=model["layers"],
        rows=rows,
        tied=dict.fromkeys(copies, "shared.weight"),
        # A table that the first release stored and that no class reads.
        left_behind=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\..*",),
    )


def folders(run: Run) -> tuple[Folder, ...]:
    """The one folder."""
    both, name = body(run), "lm_head.weight"
    output = Row("output/table", name, Vocabulary(run.model["vocab_size"]))
    folder = replace(
        both,
        architecture="T5ForConditionalGeneration",
        auto_class="AutoModelForSeq2SeqLM",
        rows=both.rows if is_tied(run) else (*both.rows, output),
        tied={**both.tied, name: "shared.weight"} if is_tied(run) else both.tied,
    )
    return (folder,)


def is_tied(run: Run) -> bool:
    """Whether the output is tied to the embedding."""
    return run.model["name"] == "t5"


def stack(theirs: str, ours: str, model: str) -> Iterator[Row]:
    """The rows of the encoder or the decoder, from our stack `ours`."""
    yield Row(f"{ours}/final_norm/scale", f"{theirs}.final_layer_norm.weight", VECTOR)
    buckets = f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    yield Row(f"{theirs}_buckets/table", buckets)
    parts = {"attention": "SelfAttention", "cross_attention": "EncDecAttention"}
    if theirs == "encoder":
        del parts["cross_attention"]
    layers, block = f"{ours}/layers/", theirs + ".block.{}.layer."
    for number, (part, name) in enumerate(parts.items()):
        for which in ("query", "key", "value"):
            weight = f"{block}{number}.{name}.{which[0]}.weight"
            yield Row(f"{layers}{part}/{which}/kernel", weight, LINEAR)
        yield Row(f"{layers}{part}/out/kernel", f"{block}{number}.{name}.o.weight", LINEAR_OUT)
        yield Row(f"{layers}{part}_norm/scale", f"{block}{number}.layer_norm.weight", VECTOR)
    wide = {"up": "wi", "down": "wo"}
    if model == "t5_1_1":
        wide = {"gate": "wi_0", "up": "wi_1", "down": "wo"}
    last = f"{block}{len(parts)}."
    for part, name in wide.items():
        weight = f"{last}DenseReluDense.{name}.weight"
        yield Row(f"{layers}feed_forward/{part}/kernel", weight, LINEAR)
    yield Row(f"{layers}feed_forward_norm/scale", f"{last}layer_norm.weight", VECTOR)


def from_config(opened: Mapping[str, Opened]) -> Imported:
    """The sections of a T5 1.0 or 1.1. Raises ConfigError for a mixture of both."""
    settings = opened[""].settings
    model = settings.read(SIZES, FIXED)
    settings.require({"num_decoder_layers": ((model["layers"], None), model["layers"])})
    activation = settings.get("feed_forward_proj", "relu")
    tied = settings.get("tie_word_embeddings", True) is not False
    scaled = settings.get("scale_decoder_outputs", tied)
    names = {("relu", True): "t5", ("gated-gelu", False): "t5_1_1"}
    if (activation, scaled) not in names:
        raise ConfigError(
            f"feed_forward_proj and tie_word_embeddings in {settings.path} must be 'relu' and true "
            "(T5 1.0), or 'gated-gelu' and false (T5 1.1), because our models have no option for "
            f"anything else; they are {activation!r} and {str(tied).lower()}"
        )
    return Imported(
        {"name": names[activation, scaled], **model, "shared": False},
        {"name": "span_corruption"},
        longest=settings.number("n_positions", LONGEST),
    )
