"""Evaluation metrics equal sums over the targets, computed one by one."""

import json
import math
from functools import partial

import jax
import jax.numpy as jnp
import nats
import numpy as np
import pytest
import tiny_job
from etils import epath

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.feed import Feed
from pretrain_jax.evaluation import heldout
from pretrain_jax.step import eval_step

pytestmark = pytest.mark.usefixtures("one_device")

SENTENCES = (
    "ein schöner Fluß fließt",
    "мы идём домой",
    "我们沿着河边散步",
    "เราเดินเล่นริมแม่น้ำ",
    "the cat sat on a mat and saw dogs",
)


@pytest.fixture
def job(tmp_path):
    """The tiny job over sentences of five languages; every sentence has a unique character."""
    path = tiny_job.write(tmp_path)
    lines = [f"{SENTENCES[i % 5]} {chr(0x5000 + i)} {i}" for i in range(200)]
    text = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    (tmp_path / "corpus.jsonl").write_text(text)
    return path


def opened(job, *overrides):
    settings = fix_schedule(config.read(str(job), [("eval.tokens", "100000"), *overrides]))
    design = build_design(settings, (jax.devices()[0],))
    return design, Feed.open(design, epath.Path(job.parent / "run"))


def held_out(feed):
    """The texts of the validation split."""
    (source,) = feed.sources
    return list(source.corpus.texts("valid"))


@pytest.mark.parametrize("name", ["bytes", "byte_bpe", "sentencepiece"])
@pytest.mark.parametrize("crossing", ["False", "True"])
def test_every_byte_of_held_out_text_is_scored_once(job, name, crossing):
    size = ("model.vocab_size", "600")
    _, feed = opened(job, ("tokenizer.name", name), size, ("data.cross_documents", crossing))
    assert feed.eval_counts.bytes == sum(len(text.encode()) for text in held_out(feed))
    assert feed.eval_counts.unknown == 0


def test_unknown_tokens_are_not_scored_and_their_share_is_reported(job):
    size = ("model.vocab_size", "600")
    _, feed = opened(job, ("tokenizer.name", "chars"), size)
    texts = "".join(held_out(feed))
    unknown = [c for c in texts if feed.tokenizer.encode(c)[0] == feed.tokenizer.unk]
    assert len(unknown) == len(held_out(feed))
    assert feed.eval_counts.unknown_share == pytest.approx(len(unknown) / len(texts))
    assert feed.eval_counts.bytes == len(texts.encode()) - 3 * len(unknown)


LONG = ("model.max_length", "32")
CASES = {
    "causal_lm": (("tokenizer.name", "chars"), LONG),
    "masked_lm": (("tokenizer.name", "wordpiece"), ("model.name", "bert"), LONG),
    "span_corruption": (
        ("tokenizer.name", "sentencepiece"),
        ("tokenizer.lossless", "False"),
        ("tokenizer.sentinels", "16"),
        ("model.name", "t5"),
        ("model.head_width", "8"),
    ),
}


@pytest.mark.parametrize("objective", CASES)
def test_loss_and_bits_are_over_exactly_the_known_text(job, objective):
    changes = (("objective.name", objective), ("model.vocab_size", "400"), *CASES[objective])
    design, feed = opened(job, ("data.seq_len", "32"), *changes)
    params = design.update.init_state().params
    function = jax.jit(partial(eval_step, program=design.update.program))
    metrics = heldout.evaluate(design, feed, params, function, jnp.asarray(feed.tokenizer.unscored))
    total, tokens, size, unknown = 0.0, 0, 0, 0
    for batch in feed.eval_batches():
        output = design.placement.apply(params, batch, jax.random.key(0), False)
        nll = np.asarray(nats.token_nll(output, jnp.asarray(batch["targets"]))[0])
        for index in np.argwhere(batch["weights"] > 0):
            target = batch["targets"][tuple(index)]
            unknown += target == feed.tokenizer.unk
            if not feed.tokenizer.special[target] and target != feed.tokenizer.unk:
                total, tokens = total + float(nll[tuple(index)]), tokens + 1
                size += feed.tokenizer.token_bytes[target]
    assert unknown > 0 and metrics["valid/tokens"] == tokens
    assert metrics["valid/loss"] == pytest.approx(total / tokens, rel=1e-5)
    assert metrics["valid/bits_per_byte"] == pytest.approx(total / math.log(2) / size, rel=1e-5)
    assert metrics["valid/unknown"] == pytest.approx(unknown / (unknown + tokens))
    assert "unknown" in heldout.format_summary(0, metrics)
