"""Warnings about text that does not suit the objective."""

import json

import jax
import languages
import pytest
import tiny_job
from etils import epath

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.feed import Feed
from pretrain_jax.planning import preflight

BERT = (("model.name", "bert"), ("model.max_length", "64"), ("data.seq_len", "64"))


@pytest.fixture
def job(tmp_path):
    path = tiny_job.write(tmp_path)
    for language in languages.WORDS:
        for part in range(2):
            text = languages.text(language, 2000, seed=part)
            (tmp_path / f"{language}{part}.txt").write_text(text)
    return path


def changed(job, language, *overrides):
    source = ("data.source", f"text:{job.parent}/{language}*.txt")
    return fix_schedule(config.read(str(job), [source, *overrides]))


def data_warnings(job, language, *overrides):
    design = build_design(changed(job, language, *overrides), (jax.devices()[0],))
    return Feed.open(design, epath.Path(job.parent / "run")).data_warnings


@pytest.mark.parametrize("language", languages.WORDS)
@pytest.mark.parametrize(
    "objective",
    [
        {"objective.name": "masked_lm", "objective.noise": "words"},
        {"objective.name": "masked_lm", "objective.noise": "spans"},
        {"objective.name": "masked_lm", "objective.noise": "tokens"},
        {"objective.name": "span_boundary"},
        {"objective.name": "next_sentence", "objective.noise": "words"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_noise_by_words_warns_of_text_without_spaces(job, language, objective):
    by_words = objective.get("objective.noise") != "tokens"
    warnings = data_warnings(job, language, *BERT, *objective.items())
    assert len(warnings) == (language != "English" and by_words)


T5 = (
    ("model.name", "t5"),
    ("model.head_width", "8"),
    ("model.vocab_size", "300"),
    ("tokenizer.sentinels", "30"),
    ("objective.name", "span_corruption"),
    ("data.seq_len", "128"),
)


@pytest.mark.parametrize(
    "size, options, count",
    [
        (20, (), 1),
        (100, (), 0),
        (20, (("objective.place", "random"),), 0),
        (20, (("objective.mean_span", "64.0"),), 0),  # asks for a single span
    ],
)
def test_noise_at_a_fixed_place_warns_of_short_examples(job, size, options, count):
    for part in range(2):
        lines = [json.dumps({"text": f"{i:04d}".rjust(size)}) + "\n" for i in range(400)]
        (job.parent / f"lines{part}.jsonl").write_text("".join(lines))
    source = ("data.source", f"text:{job.parent}/lines*.jsonl")
    assert len(data_warnings(job, "English", *T5, source, *options)) == count


def test_preflight_and_the_log_show_the_warning(job, capsys, caplog):
    options = (*BERT, ("objective.name", "masked_lm"), ("objective.noise", "words"))
    settings = changed(job, "Thai", *options)
    preflight.preflight(settings, str(job.parent / "run"), jax.devices()[:1])
    assert "NOTE data" in capsys.readouterr().out and "without spaces" in caplog.text
