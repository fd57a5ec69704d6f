"""RoBERTa: RobertaForMaskedLM. The output is tied to the embedding, with a bias of its own.

Its positions begin after the id of padding: with pad = 1, position 0 reads row 2, as in our table.
Another id of padding moves the table. The class has a table of segment types with one row; our
model has one only with types=1, and a row of zeros stands for types=0.
"""

from collections.abc import Mapping
from dataclasses import replace

from pretrain_jax.errors import ConfigError
from pretrain_jax.huggingface import _encoder, _settings
from pretrain_jax.huggingface._heads import Head
from pretrain_jax.huggingface._settings import Fixed, Sizes
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Row, Run
from pretrain_jax.huggingface._transforms import Shifted, Vocabulary, Zeros

MODELS = ("roberta",)
FOLDERS = ("",)
SIZES: Sizes = {**_encoder.SIZES, "vocab_size": ("vocab_size", 50265)}
FIXED: Fixed = {**_encoder.FIXED, "layer_norm_eps": ((1e-5,), 1e-12)}
UNUSED = 2
"""Rows of our table of positions before position 0."""
TYPES = "roberta.embeddings.token_type_embeddings.weight"
POOLED = Head("classifier.out_proj", pooler="classifier.dense")
HEADS = {
    "classify": POOLED,
    "regress": POOLED,
    "reward": POOLED,
    "multiple_choice": Head("classifier", pooler="roberta.pooler.dense"),
    "tag": Head("classifier"),
    "extract_span": Head("qa_outputs"),
}


def body(run: Run) -> Folder:
    """RobertaModel. Raises ConfigError if the tokenizer has no id for padding."""
    if run.pad is None:
        raise ConfigError(
            "RoBERTa's classes number their positions from the id of padding; the tokenizer of "
            "this run has none"
        )
    model, first = run.model, run.pad + 1
    rows = [
        *_encoder.embedding(
            "roberta.embeddings", model["vocab_size"], model["types"], Shifted(first - UNUSED)
        ),
        *_encoder.layers("stack", "roberta.encoder"),
    ]
    if not model["types"]:
        rows.append(Row((), TYPES, Zeros((1, model["width"]))))
    config = _settings.write(model, SIZES, FIXED) | _encoder.dropout(model)
    config |= {"max_position_embeddings": first + model["max_length"]}
    return Folder(
        "RobertaModel",
        "AutoModel",
        base="roberta.",
        config={**config, "type_vocab_size": model["types"] or 1},
        layers=model["layers"],
        rows=tuple(rows),
        left_behind=(r"(roberta\.)?pooler\..*",),
    )


def folders(run: Run) -> tuple[Folder, ...]:
    """The one folder."""
    stack = body(run)
    folder = replace(
        stack,
        architecture="RobertaForMaskedLM",
        auto_class="AutoModelForMaskedLM",
        rows=(
            *stack.rows,
            *_encoder.linear("output/dense", "lm_head.dense"),
            *_encoder.norm("output/norm", "lm_head.layer_norm"),
            Row("output/bias", "lm_head.bias", Vocabulary(run.model["vocab_size"])),
        ),
        tied={
            "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
            "lm_head.decoder.bias": "lm_head.bias",
        },
    )
    return (folder,)


def from_config(opened: Mapping[str, Opened]) -> Imported:
    """The sections of a RoBERTa."""
    settings, tensors = opened[""].settings, opened[""].tensors
    model = settings.read(SIZES, FIXED)
    pad = settings.number("pad_token_id", 1)
    table = next(
        (name for name in (TYPES, TYPES.removeprefix("roberta.")) if name in tensors.names), ""
    )
    if model["types"] == 1 and table and not tensors.read(table).any():
        model["types"] = 0
    length = model["max_length"] - pad - 1
    return Imported(
        {"name": "roberta", **model, "max_length": length},
        {"name": "masked_lm"},
        longest=length,
        pad=pad,
    )
