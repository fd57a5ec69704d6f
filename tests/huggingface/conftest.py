"""Vocabularies of every kind, learned from ten languages and code, and strings to compare on."""

import functools
import random
import unicodedata

import pytest
from vocabularies import CORPUS, KINDS

from pretrain_jax import registry


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
