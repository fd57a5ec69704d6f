"""Overrides that nothing in a run reads are refused; a run reads all other keys."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import pytest
import tiny_job
from ml_collections import ConfigDict

from pretrain_jax.composition import build, config, resume, spec, unread_keys
from pretrain_jax.errors import ConfigError
from pretrain_jax.training import loop

CONFIGS = Path(__file__).parents[2] / "configs"
NO_MIXTURE = {"data.mixing", "data.mixing_cap", "data.mixing_temperature"}
NO_TASKS = {"eval.tasks_data", "eval.tasks_seconds"}
# The standard library has no records.
DEFAULT_UNREAD = NO_MIXTURE | NO_TASKS | {"data.text_key"}
UNREAD = {
    "gpt2_nano": DEFAULT_UNREAD,
    "bert_nano": DEFAULT_UNREAD,
    "t5_nano": DEFAULT_UNREAD,
    "ul2_nano": {
        *NO_TASKS,
        "data.source",
        "data.mixing_cap",
        "data.mixing_temperature",
        "data.text_key",
        "objective.rate",
        "objective.mean_span",
        "objective.mode",
    },
}
"""By config, the keys that nothing reads."""


def path(name: str) -> str:
    return str(CONFIGS / f"{name}.py")


def keys(name: str) -> list[str]:
    """Every key of a config but the choices of names."""
    settings: Any = config.read(path(name))
    found = [f"{s}.{key}" for s in config.SECTIONS for key in settings[s]]
    return [*config.TOP, *(k for k in found if tuple(k.split(".")) not in config.CHOICES)]


@pytest.mark.parametrize("name", UNREAD)
def test_these_keys_and_no_others_are_refused(name):
    settings = config.read(path(name))
    assert {key for key in keys(name) if unread_keys.why_unread(settings, key)} == UNREAD[name]


REFUSED = [
    ("ul2_nano", ["data.source=text:mine/*.txt"], "data.source"),
    ("ul2_nano", ["objective.rate=0.3"], "objective.rate"),
    ("ul2_nano", ["data.mixing_cap=5"], "data.mixing_cap"),
    ("gpt2_nano", ["data.mixing=proportional"], "data.mixing"),
    ("gpt2_nano", ["data.text_key=body"], "data.text_key"),
    ("gpt2_nano", ["eval.tasks_data=folder"], "eval.tasks_data"),
    ("gpt2_nano", ["optimizer.schedule=constant", "optimizer.decay_steps=9"], "decay_steps"),
    ("gpt2_nano", ["optimizer.weight_decay=0", "optimizer.no_decay=('x',)"], "no_decay"),
    ("llama_7b", ["model.rope_factor=8"], "model.rope_factor"),
    (
        "llama_7b",
        ["model.rope_scaling=linear", "model.rope_factor=8", "model.rope_original_length=9"],
        "model.rope_original_length",
    ),
    ("gpt3_125m", ["train.batch_size=8"], "train.batch_size"),
    ("gpt3_125m", ["train.accumulate=2"], "train.accumulate"),
    (
        "gpt2_nano",
        ["tokenizer.name=sentencepiece", "tokenizer.path=x", "tokenizer.kind=bpe"],
        "tokenizer.kind",
    ),
    (
        "t5_nano",
        ["objective.name=iid_denoising", "objective.targets=spans", "objective.random=0.2"],
        "objective.random",
    ),
]
READ = [
    ("ul2_nano", ["data.mixing=proportional", "data.mixing_cap=5"]),
    ("ul2_nano", ["data.mixture=(('stdlib', 'span_corruption', 1),)", "objective.rate=0.3"]),
    ("ul2_nano", ["objective.inputs=memory"]),  # all members share it
    ("ul2_nano", ["data.mixture=()", "data.source=text:mine/*.txt", "objective.rate=0.3"]),
    (
        "gpt2_nano",
        ["data.source=text:nowhere/*.jsonl", "data.text_key=body"],
    ),  # the files may be on another host
    ("gpt2_nano", ["optimizer.schedule=constant", "optimizer.warmup_steps=9"]),
    ("gpt2_nano", ["optimizer.schedule=constant"]),  # the file may set decay_steps
    ("bert_nano", ["eval.sample_tokens=0"]),
    ("llama_7b", ["model.rope_scaling=llama3", "model.rope_high_freq_factor=8"]),
    ("gpt3_125m", ["train.batch_size=8", "train.phases=()"]),
    ("bert_base", ["train.batch_size=8"]),  # its phases change only the length
    ("gpt2_nano", ["tokenizer.name=sentencepiece", "tokenizer.path=x", "tokenizer.sentinels=1"]),
    ("t5_nano", ["objective.name=iid_denoising", "objective.random=0.05"]),
]


def overrides(words: list[str]) -> list[tuple[str, str]]:
    return [(key, text) for key, _, text in (word.partition("=") for word in words)]


@pytest.mark.parametrize(("name", "words", "key"), REFUSED)
def test_what_does_nothing_is_refused_by_name(name, words, key):
    with pytest.raises(ConfigError, match=rf"nothing in this run reads\n.*{key}: .") as refused:
        config.read(path(name), overrides(words))
    assert refused.value.exit_code == 64 and str(refused.value).count("\n") == 1


@pytest.mark.parametrize(("name", "words"), READ)
def test_what_does_something_is_not(name, words):
    config.read(path(name), overrides(words))


def test_text_key_is_read_if_files_have_records(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "one"}\n')
    source = ("data.source", f"text:{tmp_path}/*")
    config.read(path("gpt2_nano"), [source, ("data.text_key", "body")])
    (tmp_path / "a.jsonl").rename(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match=r"data\.text_key"):
        config.read(path("gpt2_nano"), [source, ("data.text_key", "body")])


def test_all_of_them_are_named_at_once():
    words = [("data.mixing_cap", "5"), ("data.source", "stdlib"), ("seed", "1")]
    with pytest.raises(ConfigError) as refused:
        config.read(path("ul2_nano"), words)
    assert "mixing_cap" in str(refused.value) and "data.source" in str(refused.value)
    assert "config.seed" not in str(refused.value)


# --- what is not refused is read --------------------------------------------------------------

SMALL = [
    *(("model.layers", "1"), ("model.width", "16"), ("model.heads", "2"), ("model.unroll", "1")),
    *(("model.feed_forward", "16"), ("model.vocab_size", "400"), ("train.steps", "2")),
    *(("train.batch_size", "8"), ("eval.tokens", "32"), ("data.seq_len", "32")),
]


class Recorded(ConfigDict):
    """A config that records which of its keys are read."""

    seen: set[str]
    within = ""

    @classmethod
    def of(cls, values: dict[str, Any], seen: set[str], within: str = "") -> "Recorded":
        made = cls()
        for key, value in values.items():
            nested = isinstance(value, dict)
            made[key] = cls.of(value, seen, f"{within}{key}.") if nested else value
        object.__setattr__(made, "seen", seen)
        object.__setattr__(made, "within", within)
        return made

    def ask(self, key: str) -> None:
        if "seen" in vars(self):
            self.seen.add(f"{self.within}{key}")

    def __getitem__(self, key: str) -> Any:
        if self.within not in FILLED:
            self.ask(key)
        return super().__getitem__(key)

    def __getattr__(self, name: str) -> Any:
        self.ask(name)
        return super().__getattr__(name)

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """For config.json and for comparing hosts; does not count as reading."""
        before = set(self.seen)
        made = super().to_dict(*args, **kwargs)
        self.seen.intersection_update(before)
        return made


FILLED = ("", "data.", "train.", "eval.")
"""Sections that build_spec reads completely (spec.py): only reads of their values count."""


def recorded(kind: type, section: str, seen: set[str]) -> type:
    """Options that record which of their fields are read; filling them does not count."""
    fields = {field.name for field in dataclasses.fields(kind)}

    def ask(self: Any, name: str) -> Any:
        if name in fields:
            seen.add(f"{section}{name}")
        return object.__getattribute__(self, name)

    return type(kind.__name__, (kind,), {"__getattribute__": ask})


@pytest.mark.parametrize("name", UNREAD)
def test_every_other_key_is_read_in_a_run(name, tmp_path, monkeypatch):
    tiny_job.write(tmp_path)
    source = f"text:{tmp_path}/corpus.jsonl"
    mine = [] if name == "ul2_nano" else [("data.source", source)]
    file = f"{path(name)}:{source}" if name == "ul2_nano" else path(name)
    settings: Any = config.read(file, [*SMALL, *mine])
    seen: set[str] = set()
    for section, kind in (
        ("", "Spec"),
        ("data.", "DataOptions"),
        ("train.", "TrainOptions"),
        ("eval.", "EvalOptions"),
    ):
        monkeypatch.setattr(spec, kind, recorded(getattr(spec, kind), section, seen))
    monkeypatch.setattr(spec, "ConfigDict", lambda section: section)
    monkeypatch.setattr(resume, "fix_schedule", lambda config, stored=None: config)
    fixed = Recorded.of(build.fix_schedule(settings).to_dict(), seen)
    seen.clear()
    alone = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: alone)
    loop.train(fixed, str(tmp_path / "run"))
    unread = {key for key in keys(name) if key not in seen} - UNREAD[name]
    assert not unread


def test_the_recorder_ignores_to_dict_and_filling():
    seen: set[str] = set()
    found: Any = Recorded.of(config.read(path("gpt2_nano")).to_dict(), seen)
    seen.clear()
    found.to_dict()
    spec.DataOptions(**found.data)
    assert seen == {"data"}
    assert found.model["width"] and found.data.seq_len
    assert seen == {"data", "data.seq_len", "model", "model.width"}
