"""How much of a text a tokenizer loses is counted, logged and shown; much of it is a warning."""

import logging

import jax
import pytest
import sentencepiece as sentencepiece_library
import tiny_job
from text_samples import CORPUS

from pretrain_jax.composition import config
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.planning import preflight
from pretrain_jax.tokenizers import chars, sentencepiece, wordpiece

TEXT = "the cat ☃ sat\non a mat ☃☃ é"
"""The snow men and the é are not in the vocabularies below: 3 x 3 + 2 bytes."""


@pytest.fixture
def lossy(tmp_path):
    """lossy(name): a tokenizer that has an id for unknown text, and no id for a snow man."""

    def make(name):
        folder = tmp_path / "vocabulary"
        folder.mkdir()
        if name == "chars":
            chars.train(["the cat sat\non a mat"], folder, vocab_size=30)
            return chars.load(folder)
        if name == "wordpiece":
            pieces = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on a mat".split()
            (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
            return wordpiece.load(folder, lower_case=False)
        sentencepiece_library.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS.splitlines()),
            model_prefix=str(folder / "sentencepiece"),
            vocab_size=400,
            minloglevel=2,
        )
        return sentencepiece.load(folder)

    return make


def cached(tmp_path, tokenizer, text, half="train"):
    (tmp_path / "a.txt").write_text(text)
    corpus = open_corpus(f"text:{tmp_path}/a.txt")
    return open_token_cache(corpus, half, tokenizer, tmp_path / "cache")


@pytest.mark.parametrize("name", ["chars", "wordpiece", "sentencepiece"])
def test_bytes_behind_unknown_tokens(lossy, name):
    tokenizer = lossy(name)
    assert tokenizer.unknown_bytes(TEXT) == 11
    assert tokenizer.unknown_bytes("the cat sat on a mat") == 0


def test_tokenizers_of_bytes_lose_nothing(trained):
    for name in ("bytes", "byte_bpe", "sentencepiece"):
        assert trained(name).unknown_bytes(TEXT) == 0


@pytest.mark.parametrize("name", ["chars", "wordpiece", "sentencepiece"])
def test_the_cache_counts_what_is_lost(tmp_path, caplog, lossy, name):
    tokenizer, text = lossy(name), f"{TEXT}\n" * 400
    cache = cached(tmp_path, tokenizer, text)
    kept = text[: 40 * len(TEXT + "\n") * 9]
    assert cache.unknown.tokens == len(cache.tokens)
    assert cache.unknown.tokens_unknown == (cache.tokens == tokenizer.unk).sum() > 1000
    assert cache.unknown.bytes == cache.text_bytes >= len(kept)
    assert cache.unknown.bytes_unknown == pytest.approx(11 * 360, rel=0.02)
    assert cache.unknown.is_excessive
    for _ in range(2):  # counted once, reported again from the cache
        (warning,) = (r for r in caplog.records if r.levelno == logging.WARNING)
        for word in ("model.vocab_size", "byte_bpe", "sentencepiece"):
            assert word in warning.getMessage()
        caplog.clear()
        cached(tmp_path, tokenizer, text)


def test_a_long_run_is_one_token_and_many_bytes(tmp_path, lossy):
    """SentencePiece joins unknown characters: the share of tokens alone would not show them."""
    cache = cached(tmp_path, lossy("sentencepiece"), f"{CORPUS} {'☃' * 5000}\n{CORPUS}")
    tokens, of_bytes = cache.unknown.shares
    assert tokens < 0.01 < of_bytes and cache.unknown.is_excessive


@pytest.mark.parametrize("name", ["bytes", "byte_bpe", "sentencepiece", "chars", "wordpiece"])
def test_what_is_known_is_no_warning(tmp_path, caplog, trained, name):
    caplog.set_level(logging.INFO, "pretrain_jax")
    cache = cached(tmp_path, trained(name), CORPUS)
    assert cache.unknown.tokens_unknown == cache.unknown.bytes_unknown == 0
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("lost", [True, False])
def test_preflight_shows_it(tmp_path, capsys, lost):
    job = tiny_job.write(tmp_path)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", "[EOS]"]
    pieces += [*("" if lost else tiny_job.WORDS), "cat"]
    (tmp_path / "vocab.txt").write_text("".join(f"{p}\n" for p in dict.fromkeys(pieces)))
    options = [("tokenizer.name", "wordpiece"), ("tokenizer.path", str(tmp_path / "vocab.txt"))]
    settings = config.read(str(job), options)
    assert preflight.preflight(settings, str(tmp_path / "run"), jax.devices()[:1]) == 0
    page = " ".join(capsys.readouterr().out.split())
    line = page[page.index("ok tokenizer") :].partition(" row ")[0]
    assert ("% of the tokens are unknown" in line) == lost
    assert ("model.vocab_size" in line) == lost
