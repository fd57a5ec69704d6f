"""The tokenizer files of a Hugging Face folder: writing them, and reading them.

`AutoTokenizer.from_pretrained(folder)` of an exported tokenizer gives our ids: a folder always has
`tokenizer.json`, which transformers uses as it is (`tokenizer_class` is PreTrainedTokenizerFast,
the class that rebuilds nothing). With GPT-2's vocabulary, "a b" is [64, 275] on both sides.

AutoTokenizer adds to a text what the model class expects. With our names of the special ids:

    bert, electra      cls text sep; a second text is followed by sep, and has token_type_ids 1
    roberta            cls text sep; a pair is cls text sep sep text sep
    t5                 text eos
    llama              bos text, if the vocabulary has bos
    gpt2, openai-gpt   nothing

These are the inputs of our objectives, but for two: our decoders read bos in front of a document
where the vocabulary has one. For gpt2, put `tokenizer.bos_token` in front of a prompt to generate
what `pretrain_jax.generate` does; GPT-2's own tokenizer adds nothing either. And our RoBERTa has
seen no pairs.
"""

import json
from typing import Any

from etils import epath
from tokenizers import processors

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError
from pretrain_jax.files import outputs
from pretrain_jax.huggingface import _sentencepiece_backend
from pretrain_jax.huggingface._tokenizer_backends import ids_by_spelling, make_backend
from pretrain_jax.huggingface._tokenizer_check import check_ids
from pretrain_jax.huggingface._tokenizer_import import Imported as Imported
from pretrain_jax.huggingface._tokenizer_import import read as read
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.tokenizers._byte_bpe_files import spell
from pretrain_jax.tokenizers._byte_bpe_splits import SPLITS
from pretrain_jax.tokenizers.byte_bpe import ByteBPE
from pretrain_jax.tokenizers.sentencepiece import SentencePiece
from pretrain_jax.tokenizers.wordpiece import WordPiece

TEMPLATES = {
    "bert": ("cls:0 $A:0 sep:0", "cls:0 $A:0 sep:0 $B:1 sep:1"),
    "electra": ("cls:0 $A:0 sep:0", "cls:0 $A:0 sep:0 $B:1 sep:1"),
    "roberta": ("cls:0 $A:0 sep:0", "cls:0 $A:0 sep:0 sep:0 $B:0 sep:0"),
    "t5": ("$A:0 eos:0", "$A:0 eos:0 $B:0 eos:0"),
    "llama": ("bos:0 $A:0", "bos:0 $A:0 bos:1 $B:1"),
    "gpt2": None,
    "openai-gpt": None,
}
"""What is put around a text, and around two, by model_type of config.json; the number after a colon
is the token_type_id."""
TYPED = ("bert", "electra")
"""Models that read token_type_ids."""


def write(tokenizer: Tokenizer, folder: epath.Path, *, model_type: str, max_length: int) -> None:
    """Writes the tokenizer files of a Hugging Face folder, with the ids of `tokenizer`.

    tokenizer.json and tokenizer_config.json; for other programs also vocab.json and merges.txt
    (byte_bpe with GPT-2's), vocab.txt (wordpiece with BERT's splitting), spiece.model (unigram) or
    tokenizer.model (SentencePiece's BPE). In vocab.json and vocab.txt the sentinels are the last
    entries; the models are without them.

    model_type: as in config.json, one of TEMPLATES. max_length: tokens that the model can read.

    Before anything is written, ids are compared (`check_ids`). One difference is by design: the
    spelling of a special token in a text ("<|endoftext|>", "[MASK]") is that token in Hugging Face,
    and plain text here. _sentencepiece_backend.py names what is not exact for SentencePiece.

    Raises ConfigError if the model type or the tokenizer has no form there, DataError if ids
    differ, UnwritableWorkdir.
    """
    registry.check_name(model_type, TEMPLATES, "model_type")
    backend = make_backend(tokenizer)
    if (template := _template(tokenizer, model_type)) is not None:
        backend.post_processor = template
    check_ids(tokenizer, backend, what="the exported tokenizer")
    files = {
        "tokenizer.json": backend.to_str(pretty=True).encode(),
        "tokenizer_config.json": _json(_config(tokenizer, model_type, max_length)),
        **_other_files(tokenizer),
    }
    with outputs.report_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        outputs.write_atomic(folder / name, content)


def _template(tokenizer: Tokenizer, model_type: str) -> processors.TemplateProcessing | None:
    """What adds special tokens around a text; None if nothing does."""
    templates = TEMPLATES[model_type]
    if templates is None or (model_type == "llama" and tokenizer.bos is None):
        return None
    ids = tokenizer.special_ids
    parts = [[part.split(":") for part in template.split()] for template in templates]
    names = {name for template in parts for name, _ in template if not name.startswith("$")}
    if missing := sorted(names - ids.keys()):
        raise ConfigError(
            f"a tokenizer for {model_type} must have the special ids "
            f"{' and '.join(sorted(names))}; this one has no {' and no '.join(missing)}. "
            f"To train with them, {tokenizer.how_to_add(missing)}"
        )
    spelled = {name: tokenizer.id_to_token(ids[name]) for name in names}
    single, pair = (
        [f"{spelled.get(name, name)}:{kind}" for name, kind in template] for template in parts
    )
    special_tokens = sorted({(spelled[name], ids[name]) for name in names})
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=special_tokens)


def _config(tokenizer: Tokenizer, model_type: str, max_length: int) -> dict[str, Any]:
    """The content of tokenizer_config.json."""
    types = ["token_type_ids"] if model_type in TYPED else []
    named = {f"{name}_token": tokenizer.id_to_token(i) for name, i in tokenizer.special_ids.items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", *types, "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **named,
        "additional_special_tokens": [tokenizer.id_to_token(i) for i in tokenizer.sentinels],
    }


def _other_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Files for programs that do not read tokenizer.json, where they give the same ids."""
    if isinstance(tokenizer, ByteBPE) and tokenizer.split is SPLITS["gpt2"]:
        lines = "".join(f"{spell(left)} {spell(right)}\n" for left, right in tokenizer.merges)
        return {
            "vocab.json": _json(ids_by_spelling(tokenizer)),
            "merges.txt": f"#version: 0.2\n{lines}".encode(),
        }
    if isinstance(tokenizer, WordPiece) and not tokenizer.every_script:
        return {"vocab.txt": "".join(f"{piece}\n" for piece in ids_by_spelling(tokenizer)).encode()}
    if isinstance(tokenizer, SentencePiece):
        name = (
            "spiece.model"
            if _sentencepiece_backend.is_unigram(tokenizer.model)
            else "tokenizer.model"
        )
        return {name: tokenizer.model}
    return {}


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
