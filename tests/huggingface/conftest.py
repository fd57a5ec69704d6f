"""Vocabularies of every kind, learned from ten languages and code, and strings to compare on."""

import functools
import inspect
import os
import random
import textwrap
import unicodedata
from pathlib import Path

import pytest

from pretrain_jax import registry

# ruff: noqa: RUF001
CORPUS = [
    inspect.getsource(textwrap),
    "The river runs past the old mill, and nobody knows where it ends. We walk on. " * 3,
    "Über den Fluß führt eine schöne alte Brücke; dahinter wächst grünes Gras. " * 3,
    "Мы идём по берегу реки и смотрим, как медленно плывут лодки. " * 3,
    "نمشي على ضفة النهر وننظر إلى القوارب الصغيرة. हम नदी के किनारे चलते हैं। " * 3,
    "我们沿着河边散步，看着小船慢慢地漂过老桥。เราเดินเล่นริมแม่น้ำ 우리는 강가를 걸으며 " * 3,
]
KINDS = {
    "bytes": {},
    "chars": {},
    "byte_bpe": {},
    "wordpiece": {},
    "wordpiece cased": {"lower_case": False},
    "sentencepiece unigram": {},
    "sentencepiece bpe": {"kind": "bpe"},
    "sentencepiece unigram lossy": {"lossless": False},
    "sentencepiece bpe lossy": {"kind": "bpe", "lossless": False},
}


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """learned(kind, sentinels): (folder, tokenizer) of one of KINDS."""

    @functools.cache
    def learn(kind: str, sentinels: int = 3):
        name = kind.split()[0]
        module = registry.load("tokenizers", name, "tokenizer.name")
        options = {**KINDS[kind], "sentinels": sentinels}
        folder = tmp_path_factory.mktemp(name)
        module.train(CORPUS, folder, vocab_size=900, **options)
        return folder, module.load(folder, **registry.accepted_kwargs(module.load, options))

    return learn


@pytest.fixture
def placed(tmp_path_factory):
    """placed(imported): the tokenizer, as a run reads it from its workdir."""

    def load(imported):
        folder = tmp_path_factory.mktemp("workdir")
        for name, content in imported.files.items():
            (folder / name).write_bytes(content)
        module = registry.load("tokenizers", imported.name, "tokenizer.name")
        return module.load(folder, **imported.options)

    return load


@pytest.fixture(scope="session")
def strings() -> list[str]:
    """900 random strings: of all of Unicode, of its first scripts, of words with random spaces."""
    draw = random.Random(0)
    assigned = [
        chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")
    ]
    words = "The river führt ёлка 我们 नदी a_b x1 3.14 'll é ... (x)".split()
    pools = [
        assigned,
        [c for c in assigned if ord(c) < 0x3100],
        list("abc ABC 12 \t\n.,'<>|▁"),
        [*words, *(space for space in (" ", "  ", "\n", "\t", "\u00a0") for _ in range(4))],
    ]
    return ["".join(draw.choices(draw.choice(pools), k=draw.randint(0, 30))) for _ in range(900)]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `data` of published vocabularies; no part of the repository."""
    folder = os.environ.get("PRETRAIN_JAX_SHARED")
    if not folder:
        pytest.skip("PRETRAIN_JAX_SHARED is not set")
    return Path(folder) / "data"
