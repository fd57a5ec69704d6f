"""The feed of a run: all tokenizers, mixtures, phases, evaluation."""

import json
import random
import string

import jax
import numpy as np
import pytest
import tiny_job
from etils import epath

from pretrain_jax import registry
from pretrain_jax.batch import is_text
from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.corpora import open_corpora
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import ConfigError, DataError, WorkdirMismatch
from pretrain_jax.evaluation import samples

MANY = string.ascii_letters


def start(feed):
    """The prompt of samples."""
    return samples.start_of_text(feed.design, samples.choose_example(feed))


def opened(job, *overrides):
    settings = fix_schedule(config.read(str(job), overrides))
    return Feed.open(build_design(settings, (jax.devices()[0],)), epath.Path(job.parent / "run"))


@pytest.fixture
def job(tmp_path):
    return tiny_job.write(tmp_path)


@pytest.mark.parametrize("name", registry.names("tokenizers"))
def test_every_tokenizer_feeds_and_is_scored(job, name):
    vocab_size = "262" if name in ("bytes", "chars") else "300"
    feed = opened(job, ("tokenizer.name", name), ("model.vocab_size", vocab_size))
    batch = next(iter(feed.batches(feed.design.spec.phases[0], 0)))
    shapes = feed.design.task.batch_shapes(8, 16)
    assert {key: value.shape for key, value in batch.items()} == {
        key: shape.shape for key, shape in shapes.items()
    }
    assert batch["tokens"].max() < feed.tokenizer.size <= int(vocab_size)
    baselines = feed.baselines
    # The words are random: bigrams predict little more than unigrams.
    assert baselines["yardstick/unigram"] < baselines["yardstick/uniform"]
    assert baselines["yardstick/bigram"] < baselines["yardstick/unigram"] + 0.1
    assert baselines["yardstick/uniform"] == pytest.approx(np.log(feed.tokenizer.size))
    again = opened(job, ("tokenizer.name", name), ("model.vocab_size", vocab_size))
    assert again.fingerprints == feed.fingerprints  # loads the trained tokenizer


@pytest.mark.parametrize(
    "changed, what",
    [({"sources": ["other"]}, "corpus"), ({}, "")],
)
def test_a_run_resumes_only_with_unchanged_data(job, changed, what):
    feed = opened(job)
    stored = {**feed.fingerprints, **changed}
    if not changed:
        assert len(open_corpora(feed.design, stored)) == 1
        return
    with pytest.raises(WorkdirMismatch, match=f"the {what} changed since the checkpoint"):
        open_corpora(feed.design, stored)


def test_a_mixture_shares_rows_by_its_rates(job, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("ZEBRA QUAGGA " * 2000)
    corpus = tmp_path / "corpus.jsonl"
    mixture = f'(("text:{corpus}", "causal_lm", 3.0), ("text:{other}", "causal_lm", 1.0))'
    feed = opened(job, ("data.mixture", mixture))
    batches = feed.batches(feed.design.spec.phases[0], 0)
    zebra = [
        bool(np.isin(row, np.frombuffer(b"ZQ", np.uint8)).any())
        for _ in range(10)
        for row in next(iter(batches))["tokens"]
    ]
    assert sum(zebra) == 20  # a quarter of 80 rows


@pytest.mark.parametrize(
    "mixture, message",
    [
        ('(("stdlib", "causal_lm"),)', "the member"),
        ('(("stdlib", "causal_lm", 0),)', "positive rates"),
        ('(("stdlib", "casual_lm", 1),)', "did you mean causal_lm"),
        ('(("sdtlib", "causal_lm", 1),)', "stdlib"),
    ],
)
def test_a_wrong_mixture_is_refused(job, mixture, message):
    with pytest.raises(ConfigError, match=message):
        opened(job, ("data.mixture", mixture))


def test_phases_of_one_length_read_no_row_twice_and_resume_inside(job):
    phases = ("train.phases", '((3, {"batch_size": 16}),)')
    feed = opened(job, phases)
    first, second = feed.design.spec.phases
    small = [next(b) for b in [iter(feed.batches(first, 0))] for _ in range(3)]
    large = [next(b) for b in [iter(feed.batches(second, 3))] for _ in range(2)]
    resumed = next(iter(feed.batches(second, 4)))
    full = opened(job, ("train.batch_size", "56"))
    expected = next(iter(full.batches(full.design.spec.phases[0], 0)))
    for name, field in expected.items():
        rows = np.concatenate([batch[name] for batch in (*small, *large)])
        np.testing.assert_array_equal(rows, field)
        np.testing.assert_array_equal(resumed[name], large[1][name])


def test_evaluation_scores_the_same_rows_each_time_and_enough_of_them(job):
    feed = opened(job)
    once, again = (list(feed.eval_batches()) for _ in range(2))
    text = 0
    for a, b in zip(once, again, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
        text += ((a["weights"] > 0) & ~feed.tokenizer.special[a["targets"]]).sum()
    assert text >= 500


def test_a_prompt_has_no_padding_and_a_short_evaluation_is_logged(job, tmp_path, caplog):
    """Held-out text of few tokens: the rows are mostly padding."""
    (tmp_path / "a.txt").write_text("a few words to train on, and one more to be held out")
    with caplog.at_level("INFO"):
        feed = opened(job, ("data.source", f"text:{tmp_path}/a.txt"))
        batch = next(feed.eval_batches())
        prompt = start(feed)
    assert (batch["segments"][0] == 0).any()
    assert len(prompt) == min((batch["segments"][0] == 1).sum(), 8)
    assert feed.tokenizer.decode(prompt).strip() in "and one more to be held out"
    assert "(eval.tokens=500): all held-out text" in caplog.text


def test_a_prompt_is_the_start_of_a_long_text_of_words(job, tmp_path):
    """Skips short texts, tables and the middles of texts."""
    lines = [f"0x{n:08x}, 0x{n + 1:08x}, 0x{n + 2:08x}, 0x{n + 3:08x}" for n in range(400)]
    lines += [f"{'a' * (n % 9)} so" for n in range(400)]
    lines += ["begin here, " + "and read on " * (9 + n) for n in range(200)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": x}) + "\n" for x in lines))
    feed = opened(job, ("data.source", f"text:{tmp_path}/a.jsonl"), ("train.batch_size", "64"))
    assert feed.tokenizer.decode(start(feed)) == "begin h"
    assert (start(feed) == start(feed)).all()


def test_held_out_text_without_anything_to_predict_is_refused(job, tmp_path):
    (tmp_path / "a.txt").write_text("ten bytes!")
    with pytest.raises(DataError, match="held-out text must have at least one text token"):
        opened(
            job,
            ("data.source", f"text:{tmp_path}/a.txt"),
            ("objective.name", "prefix_lm"),
            ("objective.inputs", "stream"),
            ("objective.split", "fixed"),
            ("objective.rate", "0.25"),
        )


def test_baselines_of_a_mixture_are_those_of_its_training_rows(job, tmp_path):
    """One member has 228 short examples; the other has 100 times their text, at the rate 1:1."""
    draw = random.Random(0)
    for name, letters, documents, size in (("few", "ab", 228, 20), ("many", MANY, 600, 800)):
        texts = ["".join(draw.choices(letters, k=size)) for _ in range(documents)]
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    members = [f'("text:{tmp_path}/{name}.jsonl", "causal_lm", 1.0)' for name in ("few", "many")]
    feed = opened(job, ("data.mixture", f"({', '.join(members)})"), ("data.seq_len", "16"))
    stream, special = feed.stream("train", 16), feed.tokenizer.unscored
    targets = stream.batch(range(2000), seed=5)
    text = (targets["weights"] > 0) & ~special[targets["targets"]]
    seen = np.bincount(targets["targets"][text], minlength=len(special))
    nats = [
        -np.log(seen[batch["targets"][is_text(batch, special)]] / seen.sum())
        for batch in feed.eval_batches()
    ]
    expected = np.concatenate(nats).mean()
    assert feed.baselines["yardstick/unigram"] == pytest.approx(expected, rel=0.05)
