"""Resolving a config: two passes, a closed set of keys, and only errors of the user."""

import random
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import pretrain_jax
from pretrain_jax import command
from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError, InputMissing

SECTIONS = """
    data=dict(seq_len=16),
    tokenizer=dict(name="bytes"),
    objective=dict(name="causal_lm"),
    model=dict(name="gpt", vocab_size=262, layers=2, width=16, heads=2, feed_forward=32,
               max_length=16),
    optimizer=dict(name="adamw", learning_rate=1e-3, schedule="cosine", b1=0.8, final=0.2),
    train=dict(steps=10, batch_size=8),
"""
FULL_FILE = f"""
from ml_collections import ConfigDict

def get_config():
    return ConfigDict(dict({SECTIONS}))
"""


def read(path: str, overrides: Sequence[tuple[str, str]] = ()) -> Any:
    """config.read, typed as Any: type checkers do not know the attributes of a ConfigDict."""
    return config.read(path, overrides)


@pytest.fixture
def write(tmp_path):
    """Writes a config file; returns its path."""

    def to_file(text: str = FULL_FILE, name: str = "tiny.py") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return to_file


def with_key(old: str, new: str) -> str:
    """The complete file with one text replaced by another."""
    assert old in FULL_FILE
    return FULL_FILE.replace(old, new)


# --- what is read ---------------------------------------------------------------------------


def test_values_come_from_file_command_line_and_defaults(write):
    path, overrides = write(), [("train.steps", "20"), ("seed", "7")]
    resolved = read(path, overrides)
    assert (resolved.train.batch_size, resolved.train.steps, resolved.seed) == (8, 20, 7)
    assert resolved.optimizer.b2 == 0.95  # the default of adamw
    origins = config.value_origins(path, overrides, resolved)
    assert origins["train.batch_size"] == "file"
    assert origins["train.steps"] == origins["seed"] == "command line"
    assert origins["optimizer.b2"] == origins["init_from"] == "default"
    keys = {f"{s}.{k}" for s in config.SECTIONS for k in resolved[s]} | config.TOP.keys()
    assert origins.keys() == keys


def test_the_last_of_two_overrides_counts(write):
    overrides = [("train.steps", "20"), ("train.steps", "30")]
    assert read(write(), overrides).train.steps == 30


def test_what_is_read_cannot_grow_keys(write):
    with pytest.raises(AttributeError, match="locked"):
        read(write()).train.stepz = 1


def test_an_argument_reaches_get_config(write):
    path = write(with_key("get_config()", 'get_config(source="stdlib")').replace(
        "data=dict(", "data=dict(source=source, "
    ))  # fmt: skip
    assert read(path).data.source == "stdlib"
    assert read(f"{path}:text:a/*.txt").data.source == "text:a/*.txt"


def test_a_plain_dict_will_do(write):
    assert read(write(f"def get_config():\n    return dict({SECTIONS})")).train.steps == 10


# --- two passes -----------------------------------------------------------------------------


def test_another_optimizer_drops_the_files_own_keys_and_says_so(write, caplog):
    resolved = read(write(), [("optimizer.momentum", "0.5"), ("optimizer.name", "sgd")])
    assert (resolved.optimizer.name, resolved.optimizer.momentum) == ("sgd", 0.5)
    assert (
        resolved.optimizer.learning_rate == 1e-3
    )  # belongs to the schedule, which has not changed
    assert "b1" not in resolved.optimizer
    assert "config.optimizer.b1 of the file is dropped" in caplog.text
    assert "learning_rate" not in caplog.text


def test_another_schedule_drops_the_files_own_keys_and_says_so(write, caplog):
    resolved = read(write(), [("optimizer.schedule", "constant")])
    assert "final" not in resolved.optimizer
    assert "config.optimizer.final" in caplog.text


def test_another_model_takes_its_own_keys(write, caplog):
    overrides = [("model.name", "llama"), ("model.rope_base", "500000")]
    resolved = read(write(), overrides)
    assert resolved.model.rope_base == 500000.0
    assert (resolved.model.layers, "max_length" in resolved.model) == (2, False)
    assert "config.model.max_length" in caplog.text
    assert config.value_origins(write(), overrides, resolved)["model.layers"] == "file"


def test_the_command_line_may_give_what_the_file_lacks(write):
    path = write(with_key("batch_size=8", ""))
    assert read(path, [("train.batch_size", "4")]).train.batch_size == 4
    path = write(with_key('tokenizer=dict(name="bytes"),', ""))
    assert read(path, [("tokenizer.name", "chars")]).tokenizer.name == "chars"


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, text, value",
    [
        ("optimizer.learning_rate", "1", 1.0),
        ("optimizer.learning_rate", "3e-4", 3e-4),
        ("train.steps", "1_000", 1000),
        ("train.steps", "1e3", 1000),
        ("data.cross_documents", "true", True),
        ("data.cross_documents", "False", False),
        ("data.source", "text:[a]*.txt", "text:[a]*.txt"),
        ("data.source", "5", "5"),
        ("optimizer.no_decay", "('bias$',)", ("bias$",)),
        ("optimizer.no_decay", "[]", ()),
        ("train.phases", "((0, {'batch_size': 4}),)", ((0, {"batch_size": 4}),)),
    ],
)
def test_text_becomes_a_value_of_the_options_type(write, key, text, value):
    section, _, name = key.partition(".")
    resolved = read(write(), [(key, text)])[section][name]
    assert resolved == value and type(resolved) is type(value)


@pytest.mark.parametrize(
    "key, text, kind",
    [
        ("train.steps", "many", "int"),
        ("train.steps", "1.5", "int"),
        ("train.steps", "True", "int"),
        ("train.steps", "", "int"),
        ("train.steps", "inf", "int"),
        ("seed", "(1,)", "int"),
        ("optimizer.learning_rate", "1e-3x", "float"),
        ("optimizer.learning_rate", "9" * 400, "float"),
        ("optimizer.learning_rate", "None", "float"),
        ("data.cross_documents", "1", "bool"),
        ("optimizer.no_decay", "bias", "tuple"),
        ("optimizer.no_decay", "(1,)", "str"),
        ("train.phases", "(" * 10_000, "tuple"),
    ],
)
def test_a_wrong_type_is_named(write, key, text, kind):
    with pytest.raises(ConfigError, match=rf"config\.{key} must be of type {kind}; received"):
        read(write(), [(key, text)])


def test_a_wrong_type_in_the_file_is_named(write):
    with pytest.raises(ConfigError, match=r"config\.train\.steps must be of type int.*'10'"):
        read(write(with_key("steps=10", 'steps="10"')))


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, message",
    [
        ("optimizer.learning_rat", "unknown key config.optimizer.learning_rat; did you mean learn"),
        ("optimiser.name", r"unknown key config.optimiser; did you mean optimizer\?"),
        ("train", "must name one key of a section"),
        ("train.", "must name one key of a section"),
        ("seed.x", "must name one key"),
        ("", "unknown key config."),
        ("train.steps.more", "unknown key config.train.steps.more"),
    ],
)
def test_an_unknown_override_names_the_nearest(write, key, message):
    with pytest.raises(ConfigError, match=message):
        read(write(), [(key, "1")])


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("steps=10", "steps=10, stepz=1", r"unknown key config.train.stepz; did you mean steps\?"),
        ("train=dict(", "trian=dict(), train=dict(", "config.trian; did you mean train"),
        ("steps=10, ", "", "config.train.steps must be set; it has no default"),
        ('name="gpt", ', "", "config.model.name must be set"),
        ('name="bytes"', 'name="byte"', r"tokenizer.name must be one of .*; did you mean bytes"),
        ('name="bytes"', "name=5", "tokenizer.name must be one of .*; received 5"),
        ('schedule="cosine"', 'schedule="cosin"', "optimizer.schedule must .* mean cosine"),
        ("b1=0.8", "beta=0.8", "unknown key config.optimizer.beta"),
        (
            "data=dict(seq_len=16)",
            "data=16",
            "config.data must be a section with keys; received 16",
        ),
        (
            "data=dict(seq_len=16)",
            "data=None",
            "config.data must be a section with keys; received None",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(write, old, new, message):
    with pytest.raises(ConfigError, match=message):
        read(write(with_key(old, new)))


def test_an_override_of_something_that_is_no_section_is_refused(write):
    with pytest.raises(ConfigError, match="must be a section with keys; received 5"):
        read(write(with_key("train=", "model=5, train=").replace(
            "model=dict(", "unused=dict("
        )), [("model.name", "gpt")])  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "get_config = 5",
        "def get_config(:",
        "raise ValueError('no')",
        "raise SystemExit(0)",
        "def get_config():\n    raise SystemExit('no')",
        "def get_config():\n    return 1 / 0",
        "def get_config():\n    return None",
        "def get_config():\n    return [1, 2]",
        "def get_config():\n    return {1: 2}",
        "def get_config(one, two):\n    return {}",
        "\0",
    ],
)
def test_a_file_that_gives_no_config_is_refused(write, text):
    with pytest.raises(ConfigError, match=r"get_config\(\)"):
        read(write(text))


def test_a_failed_import_says_what_can_be_imported(write):
    with pytest.raises(ConfigError, match=r"named configs \(import gpt2_small\).*ModuleNotFound"):
        read(write("import a_module_that_is_not_there"))


def test_an_argument_for_a_file_that_takes_none_is_refused(write):
    with pytest.raises(ConfigError, match="TypeError"):
        read(write() + ":argument")


@pytest.mark.parametrize("name", ["tiny", "tiny.txt", "a/b/c.py", "", ".", "x" * 5000, "\0"])
def test_a_file_that_is_not_there_is_missing(write, tmp_path, name):
    write()
    with pytest.raises(InputMissing, match="no such file: "):
        read(str(tmp_path / name) if name else "")


def test_a_missing_file_names_its_neighbours(write, tmp_path):
    write()
    with pytest.raises(InputMissing, match=r"did you mean .*tiny\.py"):
        read(str(tmp_path / "tinny.py"))


@pytest.mark.parametrize("text", ["gpt2_nano", "shakespeare_char:some.txt"])
def test_a_name_finds_a_config_of_the_package_in_every_folder(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    file, _, argument = text.partition(":")
    in_checkout = str(Path(pretrain_jax.__file__).parents[1] / "configs" / f"{file}.py")
    assert read(text) == read(f"{in_checkout}:{argument}")
    assert command.default_workdir(parse(f"--config={text}")) == f"runs/{file}"


@pytest.mark.parametrize("text", ["gpt2_nan", "configs/gpt2_nano.py", "gpt2_nano.py"])
def test_a_missing_file_suggests_a_name(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputMissing) as caught:
        read(text)
    assert str(caught.value) == f"no such file: {text!r}; did you mean gpt2_nano?"


def test_a_missing_file_without_a_near_name_says_where_the_named_configs_are():
    with pytest.raises(InputMissing, match=r"the name of a config in /.*configs$"):
        read("qqqqqq")


def test_configs_import_their_neighbors_and_the_named_configs(write, tmp_path):
    base = write(name="base.py")
    for folder, steps in (("a", 7), ("b", 8)):  # neighbors of the same name are not mixed up
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "neighbor.py").write_text(f"STEPS = {steps}")
        (tmp_path / folder / "mine.py").write_text(
            "import gpt2_nano, neighbor\n"
            "def get_config():\n"
            "    config = gpt2_nano.get_config()\n"
            "    config.train.steps = neighbor.STEPS\n"
            "    return config\n"
        )
        before = [*sys.path], set(sys.modules)
        assert read(str(tmp_path / folder / "mine.py")).train.steps == steps
        assert ([*sys.path], set(sys.modules)) == before
    with pytest.raises(ConfigError, match="ModuleNotFoundError: No module named 'neighbor'"):
        Path(base).write_text("import neighbor")
        read(base)


def test_a_file_of_another_kind_is_refused(write):
    with pytest.raises(ConfigError, match=r"ends in \.py"):
        read(write(name="tiny.yaml"))


# --- anything at all ------------------------------------------------------------------------

PIECES = [*"(){}[]'\"\\.,:=-+*%#@ \0\n\t\u00e9\U0001f600\ud800", "0", "1", "9" * 50, "1e999", "nan"]
PIECES += [
    "None",
    "True",
    "lambda",
    "not",
    "1j",
    "0x",
    "...",
    "b'",
    "f'{x}'",
    "__import__",
    "train",
]


def test_malformed_overrides_end_in_errors_for_people(write):
    draw = random.Random(0)
    path = write()
    keys = [f"{s}.{k}" for s in config.SECTIONS for k in read(path)[s]] + [*config.TOP]
    accepted = 0
    for _ in range(500):
        text = "".join(draw.choices(PIECES, k=draw.randrange(8)))
        key = draw.choice(keys) if draw.random() < 0.8 else draw.choice(keys)[:5] + text
        try:
            read(path, [(key, text)])
            accepted += 1
        except (ConfigError, InputMissing) as error:
            assert len(str(error)) > 20
    assert 20 < accepted < 400  # mostly texts for keys that take any text


def test_malformed_command_lines_end_in_errors_for_people(write):
    draw = random.Random(1)
    starts = ["--", "--config", "--config.", "--workdir=", "--json", "-", "", "--mode="]
    for _ in range(300):
        words = [
            draw.choice(starts) + "".join(draw.choices(PIECES, k=draw.randrange(4)))
            for _ in range(draw.randrange(4))
        ]
        try:
            line = command.parse(
                words, {"workdir": "", "mode": "a"}, {"mode": ("a", "b")}, switches=("json",)
            )
            assert line.config
        except ConfigError as error:
            assert len(str(error)) > 20


# --- the command line -----------------------------------------------------------------------


def parse(*words: str, **more) -> command.CommandLine:
    return command.parse(
        words, {"workdir": "", "mode": "train"}, {"mode": ("train", "eval")}, **more
    )


def test_options_take_their_value_after_an_equals_sign_or_as_the_next_word():
    line = parse(
        "--config=a.py:b=c", "--config.train.steps", "-5", "--workdir=x=y", "--mode", "eval"
    )
    assert line.config == "a.py:b=c"
    assert line.overrides == (("train.steps", "-5"),)
    assert line.flags == {"workdir": "x=y", "mode": "eval"}
    assert command.default_workdir(line) == "runs/a"


def test_a_switch_takes_no_value():
    assert parse("--json", "--config=a.py", switches=("json",)).flags["json"] == "1"
    with pytest.raises(ConfigError, match="every argument must be an option"):
        parse("--json", "1", "--config=a.py", switches=("json",))
    with pytest.raises(ConfigError, match="--json takes no value"):
        parse("--json=no", "--config=a.py", switches=("json",))


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "--config must name a config"),
        (("--config=",), "--config must name a config"),
        (("--config",), "--config needs a value"),
        (("--config=a.py", "train"), "every argument must be an option that begins with --"),
        (("--config=a.py", "-workdir=x"), "every argument must be an option"),
        (("--config=a.py", "--wrkdir=x"), r"unknown option --wrkdir; did you mean workdir\?"),
        (("--config=a.py", "--"), "unknown option --"),
        (
            ("--config=a.py", "--mode=trian"),
            r"--mode must be one of eval, train.*did you mean train",
        ),
        (("--config=a.py", "--config.seed"), "--config.seed needs a value"),
    ],
)
def test_the_command_line_is_closed(words, message):
    with pytest.raises(ConfigError, match=message):
        parse(*words)


def test_a_command_without_a_config_knows_no_config_option():
    assert parse("--workdir=x", takes_config=False).flags["workdir"] == "x"
    with pytest.raises(ConfigError, match="unknown option --config"):
        parse("--config=a.py", takes_config=False)


def test_a_required_placeholder_without_a_value_is_refused(tmp_path):
    file = tmp_path / "placeholder.py"
    file.write_text(
        "from ml_collections import ConfigDict, config_dict\n"
        "def get_config():\n"
        "    return ConfigDict({'model': {'layers': config_dict.required_placeholder(int)}})\n"
    )
    with pytest.raises(ConfigError, match="required placeholder without one"):
        config.read(str(file))
