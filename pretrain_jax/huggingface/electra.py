"""ELECTRA: two folders, generator/ (ElectraForMaskedLM) and discriminator/ (ElectraForPreTraining).

Our model shares the embedding between both, so both folders have it. Importing needs both.
"""

from collections.abc import Mapping
from typing import Any

from pretrain_jax.errors import ConfigError
from pretrain_jax.huggingface import _encoder, _settings
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


def folders(run: Run) -> tuple[Folder, ...]:
    """The generator and the discriminator."""
    model = {**run.model, "embedding_width": run.model["embedding_width"] or run.model["width"]}
    width, heads = generator_sizes(model["width"], model["generator_fraction"])
    small = {**model, "width": width, "heads": heads, "feed_forward": 4 * width}
    generator = [
        *_encoder.linear("generator_output/dense", "generator_predictions.dense"),
        *_encoder.norm("generator_output/norm", "generator_predictions.LayerNorm"),
        Row("generator_output/bias", "generator_lm_head.bias", Vocabulary(model["vocab_size"])),
    ]
    judge = "discriminator_predictions"
    discriminator = [
        *_encoder.linear("discriminator_output/dense", f"{judge}.dense"),
        *_encoder.linear("discriminator_output/out", f"{judge}.dense_prediction"),
    ]
    tied = {
        "generator_lm_head.weight": "electra.embeddings.word_embeddings.weight",
    }
    return (
        tower("generator", small, "ElectraForMaskedLM", "AutoModelForMaskedLM", generator, tied),
        tower(
            "discriminator",
            model,
            "ElectraForPreTraining",
            "AutoModelForPreTraining",
            discriminator,
            {},
        ),
    )


def tower(
    name: str,
    model: Mapping[str, Any],
    architecture: str,
    auto_class: str,
    output: list[Row],
    tied: Mapping[str, str],
) -> Folder:
    """The folder of one stack with its output. model: our options, with the sizes of the stack."""
    rows = [
        *_encoder.embedding("electra.embeddings", model["vocab_size"], model["types"]),
        *_encoder.layers(f"{name}/stack", "electra.encoder"),
        *output,
    ]
    if model["width"] != model["embedding_width"]:
        rows += _encoder.linear(f"{name}/input", "electra.embeddings_project")
    config = _settings.write(model, SIZES, _encoder.FIXED) | _encoder.dropout(model)
    return Folder(
        architecture,
        auto_class,
        base="electra.",
        config=config,
        layers=model["layers"],
        rows=tuple(rows),
        name=name,
        tied=tied,
        method={"generator": "generate", "discriminator": "discriminate"}[name],
    )


def from_config(opened: Mapping[str, Opened]) -> Imported:
    """The sections of an ELECTRA. Raises ConfigError if the generator has sizes of its own."""
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
