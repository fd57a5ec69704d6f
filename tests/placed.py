"""Records whose labels have places in their texts, and their token caches with any tokenizer."""

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from pretrain_jax import registry
from pretrain_jax.data.cache import TokenCache, open_token_cache
from pretrain_jax.data.corpus import Corpus, open_corpus
from pretrain_jax.data.sources import Columns
from pretrain_jax.tokenizers import Tokenizer

NAMES = {"words": ("tokens", "tags", 1), "answers": ("question", "context", "answers", 2)}
TEXT = (
    "Zoë lives in São Paulo . 東京 is a city ; cafe\u0301 au lait 👩\u200d👩\u200d👧 and 🇩🇪 ❤️ ! "
    "The ﬁne old man paid ½ of $9.50 , didn't he ?  It dates from 1889 \u00a0 .\n"
)
"""Accents (one composed of two characters), Chinese, emoji, a ligature, and all kinds of spaces."""


@functools.cache
def tokenizer(name: str) -> Tokenizer:
    """A tokenizer of this kind, trained on TEXT."""
    module = registry.load("tokenizers", name, "")
    folder = tempfile.mkdtemp()
    module.train([TEXT * 20], folder, vocab_size=330)
    return module.load(folder)


def corpus(path: Path, places: str, required: bool = True) -> Corpus:
    """All records of a file."""
    *texts, label, count = NAMES[places]
    columns = Columns(
        count=count,
        required=required,
        default_texts=tuple(texts),
        default_label=label,
        places=places,
    )
    return open_corpus(f"text:{path}", split="all", columns=columns)


def cache(path: Path, places: str, how: Tokenizer, required: bool = True) -> TokenCache:
    return open_token_cache(corpus(path, places, required), "valid", how, path.parent / "cache")


def write(path: Path, *records: Any) -> Path:
    """One JSON object per line; a string is written as it is."""
    lines = (x if isinstance(x, str) else json.dumps(x, ensure_ascii=False) for x in records)
    path.write_text("".join(line + "\n" for line in lines))
    return path


def asked(question: str, context: str, *answers: str, **more: Any) -> dict[str, Any]:
    """A record of a question; each answer is where the context has it first."""
    starts = [context.index(answer) for answer in answers]
    found = {"text": list(answers), "answer_start": starts}
    return {"question": question, "context": context, "answers": found, **more}
