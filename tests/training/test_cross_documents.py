"""Rows that cross documents (data.cross_documents): an end token separates the documents."""

import itertools
import json
import random

import jax
import numpy as np
import pytest
import tiny_job
from etils import epath

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import ConfigError
from pretrain_jax.tokenizers import wordpiece

MARKS = [chr(code) for code in range(33, 127) if chr(code) not in '"\\']


@pytest.fixture
def job(tmp_path):
    """Documents of one repeated character each, so every token identifies its document."""
    path = tiny_job.write(tmp_path)
    draw = random.Random(0)
    texts = [MARKS[i % len(MARKS)] * draw.choice([1, 3, 15, 16, 17, 40, 100]) for i in range(400)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "corpus.jsonl").write_text(lines)
    return path


def opened(job, *overrides):
    crossing = [("data.cross_documents", "True"), *overrides]
    settings = fix_schedule(config.read(str(job), crossing))
    return Feed.open(build_design(settings, (jax.devices()[0],)), epath.Path(job.parent / "run"))


def without_begin(job):
    """A vocabulary with an end token and no begin token."""
    folder = job.parent / "vocab"
    folder.mkdir()
    inside = [f"##{mark}" for mark in MARKS]
    (folder / "vocab.txt").write_text("\n".join(["[UNK]", "[EOS]", *MARKS, *inside]))
    return ("tokenizer.name", "wordpiece"), ("tokenizer.path", str(folder))


@pytest.fixture(params=["begin and end", "one for both", "end alone"])
def feed(job, request):
    """Feeds with tokenizers that put different tokens between documents."""
    size = ("model.vocab_size", "300")
    if request.param == "end alone":
        return opened(job, size, *without_begin(job))
    name = {"begin and end": "bytes", "one for both": "byte_bpe"}[request.param]
    return opened(job, size, ("tokenizer.name", name))


def epoch(feed):
    stream = feed.stream("train", 16)
    return stream.batch(range(len(stream)), seed=3)


def documents(feed, tokens):
    """The character of each token; "" for special ids."""
    characters = [feed.tokenizer.decode([token]).replace("##", "")[:1] for token in tokens]
    return np.array(characters)


def test_an_end_token_precedes_every_next_document(feed):
    jumps = 0
    for row, segments in zip(*(epoch(feed)[n] for n in ("tokens", "segments")), strict=True):
        real = row[segments > 0]
        characters = documents(feed, real)
        text = np.flatnonzero(characters != "")
        for before, after in itertools.pairwise(text):
            if characters[before] != characters[after]:
                jumps += 1
                assert feed.tokenizer.eos in real[before + 1 : after]
    assert jumps > 100


def test_targets_are_the_tokens_that_come_next_also_between_documents(feed):
    batch = epoch(feed)
    tokens, targets = batch["tokens"], batch["targets"]
    np.testing.assert_array_equal(
        tokens[:, 1:] * batch["segments"][:, 1:], targets[:, :-1] * (batch["segments"][:, 1:])
    )
    assert (batch["weights"] == (batch["segments"] > 0)).all()
    assert (batch["segments"] == 0).any(1).sum() <= 1  # only the last row has padding


def test_every_token_of_the_text_is_predicted_once_an_epoch(feed):
    batch = epoch(feed)
    cache = feed.cache(feed.sources[0], "train")
    expected = np.bincount(cache.tokens, minlength=feed.tokenizer.size)
    predicted = batch["targets"][batch["weights"] > 0]
    counts = np.bincount(predicted, minlength=feed.tokenizer.size)
    text = ~feed.tokenizer.special
    lost = (expected - counts)[text]
    if feed.tokenizer.bos is None:  # the very first token has no predecessor
        lost[documents(feed, np.flatnonzero(text)) == documents(feed, cache.tokens[:1])] -= [1, 0]
    assert not lost.any()
    assert counts[feed.tokenizer.eos] == len(cache)


def test_without_a_begin_and_an_end_it_is_refused(job):
    folder = job.parent / "vocab"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[UNK]", *MARKS]))
    with pytest.raises(ConfigError, match="cross_documents"):
        opened(job, ("tokenizer.name", "wordpiece"), ("tokenizer.path", str(folder)))
    assert wordpiece.load(folder).eos is None


def test_encoders_read_a_separator_between_documents(job):
    """Examples have their own [CLS] and [SEP], like RoBERTa's; nothing else separates them."""
    bert = (("model.name", "bert"), ("objective.name", "masked_lm"))
    feed = opened(job, *bert)
    batch = epoch(feed)
    cls = batch["tokens"] == feed.tokenizer.cls
    inner = cls[:, 1:] & (batch["segments"][:, 1:] > 0)
    assert inner.any() and (batch["tokens"][:, :-1][inner] == feed.tokenizer.sep).all()
