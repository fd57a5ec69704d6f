"""How many bytes of text each id stands for: sums over a text are its own size."""

import numpy as np
import pytest
from text_samples import CORPUS, LANGUAGES, NASTY

from pretrain_jax import registry
from pretrain_jax.tokenizers import chars, sentencepiece, wordpiece

NAMES = registry.names("tokenizers")
LOSSLESS = ["byte_bpe", "bytes", "chars", "sentencepiece"]
TEXTS = [*LANGUAGES.values(), NASTY, CORPUS[:3000], " ", "  a", "a  ", "\n", "x", "é" * 50]


@pytest.fixture(
    scope="module",
    params=[(name, {}) for name in LOSSLESS] + [("sentencepiece", {"kind": "bpe"})],
)
def lossless(request, tmp_path_factory):
    """A tokenizer of text in many languages."""
    name, options = request.param
    module = registry.load("tokenizers", name, "tokenizer.name")
    texts = [*LANGUAGES.values(), NASTY]
    folder = tmp_path_factory.mktemp(name)
    module.train([*texts, CORPUS], folder, vocab_size=1500, **options)
    return module.load(folder, **registry.accepted_kwargs(module.load, options))


@pytest.mark.parametrize("name", NAMES)
def test_special_and_unknown_ids_have_no_bytes(trained, name):
    tokenizer = trained(name, sentinels=3)
    sizes = tokenizer.token_bytes
    assert sizes.dtype == np.int32 and sizes.shape == (tokenizer.size,)
    assert not sizes[tokenizer.unscored].any() and tokenizer.unscored[tokenizer.special].all()
    assert (sizes[~tokenizer.unscored] > 0).all()
    if tokenizer.unk is not None:
        assert tokenizer.unscored[tokenizer.unk] and not sizes[tokenizer.unk]
    assert not sizes.flags.writeable


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_ids_of_a_text_have_exactly_its_bytes(lossless, text):
    ids = lossless.encode(text)
    assert lossless.token_bytes[ids].sum() - lossless.lead_bytes == len(text.encode())


@pytest.mark.parametrize("module, options", [(wordpiece, {}), (sentencepiece, {"lossless": False})])
def test_where_text_is_normalized_the_bytes_are_those_of_what_comes_back(module, options, tmp_path):
    text = " ".join(LANGUAGES.values())
    module.train([text], tmp_path, vocab_size=1200, **options)
    tokenizer = module.load(tmp_path, **registry.accepted_kwargs(module.load, options))
    ids = tokenizer.encode("  \uff34he  \ufb01rst\n\tcafé, can't  go ")
    known = ids[ids != tokenizer.unk]
    written = tokenizer.decode(known)
    assert tokenizer.token_bytes[known].sum() - tokenizer.lead_bytes == len(written.encode())


def test_wordpieces_with_their_spaces():
    pieces = ["[UNK]", "un", "##want", "##ed", ",", "é"]
    tokenizer = wordpiece.WordPiece(pieces, lower_case=False, sentinels=2)
    assert tokenizer.token_bytes.tolist() == [0, 3, 4, 2, 2, 3, 0, 0]


def test_characters_in_utf8():
    assert chars.Chars(["a", "é", "中", "😁"], 1).token_bytes.tolist() == [1, 2, 3, 4] + [0] * 8
