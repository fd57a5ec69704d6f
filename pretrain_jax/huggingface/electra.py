"""ELECTRA: two folders, generator/ (ElectraForMaskedLM) and discriminator/ (ElectraForPreTraining).

Our model shares the embedding between both, so both folders have it. Importing needs both. A
finetuned model is the discriminator alone, in one folder.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pretrain_jax.errors import ConfigError
from pretrain_jax.huggingface import _encoder, _settings
from pretrain_jax.huggingface._heads import Head
from pretrain_jax.huggingface._settings import Sizes
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Row, Run
from pretrain_jax.huggingface._transforms import Vocabulary
from pretrain_jax.models.electra import generator_sizes

MODELS = ("electra",)
FOLDERS = ("generator", "discriminator")
SIZES: Sizes = {
    **_encoder.SIZES,
    "width": ("hidden_size", 256),
    "heads": ("num_attention_heads", 4),
    "feed_forward": ("intermediate_size", 1024),
    "embedding_width": ("embedding_size", 128),
}
SHARED = ("vocab_size", "layers", "max_length", "types", "embedding_width")
"""Options that both stacks must have alike."""
POOLED = Head("classifier.out_proj", pooler="classifier.dense")
HEADS = {
    "classify": POOLED,
    "regress": POOLED,
    "reward": POOLED,
    "multiple_choice": Head(
        "classifier",
        pooler="sequence_summary.summary",
        dropout="summary_last_dropout",
        settings={
            "summary_type": (("first",), "first"),
            "summary_use_proj": ((True,), True),
            "summary_activation": (("gelu",), "gelu"),
        },
    ),
    "tag": Head("classifier"),
    "extract_span": Head("qa_outputs"),
}


def body(run: Run) -> Folder:
    """ElectraModel of the discriminator."""
    return tower("discriminator", run.model)


def folders(run: Run) -> tuple[Folder, ...]:
    """The generator and the discriminator."""
    large, judge = body(run), "discriminator_predictions"
    discriminator = replace(
        large,
        architecture="ElectraForPreTraining",
        auto_class="AutoModelForPreTraining",
        rows=(
            *large.rows,
            *_encoder.linear("discriminator_output/dense", f"{judge}.dense"),
            *_encoder.linear("discriminator_output/out", f"{judge}.dense_prediction"),
        ),
        name="discriminator",
        method="discriminate",
    )
    return (generator(run.model), discriminator)


def generator(model: Mapping[str, Any]) -> Folder:
    """ElectraForMaskedLM."""
    width, heads = generator_sizes(model["width"], model["generator_fraction"])
    sizes = {"width": width, "heads": heads, "feed_forward": 4 * width}
    embedding = {"embedding_width": model["embedding_width"] or model["width"]}
    small = tower("generator", {**model, **sizes, **embedding})
    bias = Vocabulary(model["vocab_size"])
    return replace(
        small,
        architecture="ElectraForMaskedLM",
        auto_class="AutoModelForMaskedLM",
        rows=(
            *small.rows,
            *_encoder.linear("generator_output/dense", "generator_predictions.dense"),
            *_encoder.norm("generator_output/norm", "generator_predictions.LayerNorm"),
            Row("generator_output/bias", "generator_lm_head.bias", bias),
        ),
        name="generator",
        tied={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
        method="generate",
    )


def tower(name: str, options: Mapping[str, Any]) -> Folder:
    """ElectraModel of one of our stacks. options: ours, with the sizes of the stack."""
    model = {**options, "embedding_width": options["embedding_width"] or options["width"]}
    rows = [
        *_encoder.embedding("electra.embeddings", model["vocab_size"], model["types"]),
        *_encoder.layers(f"{name}/stack", "electra.encoder"),
    ]
    if model["width"] != model["embedding_width"]:
        rows += _encoder.linear(f"{name}/input", "electra.embeddings_project")
    config = _settings.write(model, SIZES, _encoder.FIXED) | _encoder.dropout(model)
    return Folder(
        "ElectraModel",
        "AutoModel",
        base="electra.",
        config=config,
        layers=model["layers"],
        rows=tuple(rows),
    )


def from_config(opened: Mapping[str, Opened]) -> Imported:
    """The sections of an ELECTRA, or of its discriminator alone, in the folder "".

    Raises ConfigError if the generator has sizes of its own.
    """
    if "" in opened:
        model = opened[""].settings.read(SIZES, _encoder.FIXED)
        return Imported({"name": "electra", **model}, {}, longest=model["max_length"])
    small, model = (
        opened[name].settings.read(SIZES, _encoder.FIXED) for name in ("generator", "discriminator")
    )
    fraction = small["width"] / model["width"]
    width, heads = generator_sizes(model["width"], fraction) if fraction <= 1 else (0, 0)
    wanted = {key: model[key] for key in SHARED}
    wanted |= {"width": width, "heads": heads, "feed_forward": 4 * small["width"]}
    for key, value in wanted.items():
        if small[key] != value:
            raise ConfigError(
                f"{SIZES[key][0]} in {opened['generator'].settings.path} must be {value}, because "
                "our generator has the discriminator's tables and depth, at most its width, heads "
                "of width 64 and a feed-forward width of 4 times its width; "
                f"it is {small[key]}"
            )
    return Imported(
        {"name": "electra", **model, "generator_fraction": fraction},
        {"name": "replaced_token"},
        longest=model["max_length"],
    )
