"""T5 1.0 and 1.1: T5ForConditionalGeneration (our models `t5` and `t5_1_1`, also of UL2's runs).

T5 1.0 has ReLU and an output tied to the embedding, with hidden states multiplied by D^-0.5; T5
1.1 has a gated GELU and a matrix of its own. transformers knows the second by
tie_word_embeddings=false and by the presence of lm_head.weight. An encoder that shares the
decoder's layers becomes a copy of them, which computes the same.

Our models `t5_encoder` and `t5_1_1_encoder` have one class, T5ForTokenClassification.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pretrain_jax.errors import ConfigError
from pretrain_jax.huggingface import _settings
from pretrain_jax.huggingface._heads import Head, find_objective, task_head
from pretrain_jax.huggingface._settings import Fixed, Sizes
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Row, Run
from pretrain_jax.huggingface._transforms import LINEAR, LINEAR_OUT, VECTOR, Vocabulary

MODELS = ("t5", "t5_1_1", "t5_encoder", "t5_1_1_encoder")
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
HEADS = {
    "classify": POOLED,
    "regress": POOLED,
    "reward": POOLED,
    "tag": Head("classifier", base="transformer."),
}
ENCODER = "_encoder"
"""The ending of models without a decoder."""


def body(run: Run) -> Folder:
    """T5Model, or the part of it that T5ForTokenClassification has."""
    model = run.model
    name = model["name"].removesuffix(ENCODER)
    check_class(run)
    if name == model["name"]:
        stacks = {"encoder": "decoder" if model["shared"] else "encoder", "decoder": "decoder"}
    else:
        stacks = {"encoder": "encoder"}
    rows = (
        Row("embedding/tokens", "shared.weight", Vocabulary(model["vocab_size"])),
        *(row for theirs, ours in stacks.items() for row in stack(theirs, ours, name)),
    )
    copies = [f"{theirs}.embed_tokens.weight" for theirs in stacks]
    return Folder(
        "T5Model",
        "AutoModel",
        base="",
        config={
            **_settings.write(model, SIZES, FIXED),
            "num_decoder_layers": model["layers"],
            "feed_forward_proj": ACTIVATIONS[name],
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


def check_class(run: Run) -> None:
    """Raises ConfigError for a head of which there is no class with these stacks."""
    name = run.model["name"]
    if name.endswith(ENCODER) and task_head(run.heads) != "tag":
        raise ConfigError(
            f"of {name}, transformers has a class for tag alone; this run was trained with "
            f"{run.objective.get('name') or 'another objective'}. Finetune {name[: -len(ENCODER)]}"
        )


def is_tied(run: Run) -> bool:
    """Whether the output is tied to the embedding."""
    return not run.model["name"].startswith("t5_1_1")


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
    longest = settings.number("n_positions", LONGEST)
    names = {("relu", True): "t5", ("gated-gelu", False): "t5_1_1"}
    if (activation, scaled) not in names:
        raise ConfigError(
            f"feed_forward_proj and tie_word_embeddings in {settings.path} must be 'relu' and true "
            "(T5 1.0), or 'gated-gelu' and false (T5 1.1), because our models have no option for "
            f"anything else; they are {activation!r} and {str(tied).lower()}"
        )
    name = names[activation, scaled]
    if find_objective(settings) == "tag":  # the class without a decoder
        return Imported({"name": name + ENCODER, **model}, {"name": "masked_lm"}, longest=longest)
    return Imported(
        {"name": name, **model, "shared": False},
        {"name": "span_corruption"},
        longest=longest,
    )
