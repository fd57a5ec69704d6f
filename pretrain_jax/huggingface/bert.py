"""BERT: BertForPreTraining, or BertForMaskedLM for a run without next-sentence prediction.

SpanBERT is the latter: its head for span boundaries has no class and is left behind. The output is
tied to the embedding, with a bias of its own.
"""

from collections.abc import Mapping
from dataclasses import replace

from pretrain_jax.huggingface import _encoder, _settings
from pretrain_jax.huggingface._heads import Head
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Row, Run
from pretrain_jax.huggingface._transforms import Vocabulary

MODELS = ("bert",)
FOLDERS = ("",)
NEXT_SENTENCE = ("bert.pooler.dense.weight", "cls.seq_relationship.weight")
POOLED = Head("classifier", pooler="bert.pooler.dense")
HEADS = {
    "classify": POOLED,
    "regress": POOLED,
    "reward": POOLED,
    "multiple_choice": POOLED,
    "tag": Head("classifier"),
    "extract_span": Head("qa_outputs"),
}


def body(run: Run) -> Folder:
    """BertModel."""
    model = run.model
    config = _settings.write(model, _encoder.SIZES, _encoder.FIXED) | _encoder.dropout(model)
    return Folder(
        "BertModel",
        "AutoModel",
        base="bert.",
        config=config,
        layers=model["layers"],
        rows=(
            *_encoder.embedding("bert.embeddings", model["vocab_size"], model["types"]),
            *_encoder.layers("stack", "bert.encoder"),
        ),
        left_behind=(r"(bert\.)?pooler\..*", r"cls\.seq_relationship\..*"),
    )


def folders(run: Run) -> tuple[Folder, ...]:
    """The one folder."""
    stack, output = body(run), "cls.predictions"
    rows = [
        *stack.rows,
        *_encoder.linear("output/dense", f"{output}.transform.dense"),
        *_encoder.norm("output/norm", f"{output}.transform.LayerNorm"),
        Row("output/bias", f"{output}.bias", Vocabulary(run.model["vocab_size"])),
    ]
    two = "next_sentence" in run.heads
    if two:
        rows += _encoder.linear("next_sentence/pooler", "bert.pooler.dense")
        rows += _encoder.linear("next_sentence/output", "cls.seq_relationship")
    folder = replace(
        stack,
        architecture="BertForPreTraining" if two else "BertForMaskedLM",
        auto_class="AutoModelForPreTraining" if two else "AutoModelForMaskedLM",
        rows=tuple(rows),
        tied={
            f"{output}.decoder.weight": "bert.embeddings.word_embeddings.weight",
            f"{output}.decoder.bias": f"{output}.bias",
        },
        output="prediction_logits" if two else "logits",
        heads={"next_sentence": ("seq_relationship_logits",)} if two else {},
    )
    return (folder,)


def from_config(opened: Mapping[str, Opened]) -> Imported:
    """The sections of a BERT; it keeps its next-sentence head if it has the whole of it."""
    settings, names = opened[""].settings, opened[""].tensors.names
    model = settings.read(_encoder.SIZES, _encoder.FIXED)
    pooler, classifier = NEXT_SENTENCE
    stored = classifier in names and {pooler, pooler.removeprefix("bert.")} & names
    two = bool(stored) and model["types"] >= 2  # the objective writes two types
    return Imported(
        {"name": "bert", **model},
        {"name": "next_sentence" if two else "masked_lm"},
        longest=model["max_length"],
        heads=("next_sentence",) if two else (),
    )
