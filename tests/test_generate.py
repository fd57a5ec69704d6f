"""The command `generate`: its options, its output and its errors."""

import io
import json
import re

import pytest
import tiny_job

import pretrain_jax
from pretrain_jax import generate
from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.training import loop

pytestmark = pytest.mark.usefixtures("one_device")

STEPS = [("train.steps", "20"), ("eval.every", "0"), ("eval.sample_tokens", "0")]
BERT = [("model.name", "bert"), ("objective.name", "masked_lm")]
T5 = [
    *[("model.name", "t5"), ("model.head_width", "8"), ("objective.name", "span_corruption")],
    *[("tokenizer.sentinels", "2"), ("model.vocab_size", "264"), ("data.seq_len", "32")],
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The workdirs of a GPT, a BERT and a T5."""
    folder = tmp_path_factory.mktemp("runs")
    job = tiny_job.write(folder)
    for name, overrides in (("gpt", []), ("bert", BERT), ("t5", T5)):
        loop.train(config.read(str(job), [*STEPS, *overrides]), str(folder / name))
    return folder


def run(runs, capsys, *options, model="gpt"):
    capsys.readouterr()
    assert generate.main([f"--workdir={runs / model}", *options]) == 0
    return capsys.readouterr()


def test_it_prints_the_prompt_its_continuation_and_why_it_ends(runs, capsys):
    out, err = run(runs, capsys, "--prompt=the cat", "--tokens=5", "--temperature=0")
    assert out.startswith("the cat") and len(out) == len("the cat") + 5 + 1
    assert err.endswith("[tokens]\n")


def test_json_is_one_object_that_holds_what_is_printed(runs, capsys):
    options = ["--prompt=the", "--tokens=6", "--samples=2", "--seed=4"]
    made = json.loads(run(runs, capsys, "--json", *options).out)["continuations"]
    assert [one["sample"] for one in made] == [0, 1] and made[0]["text"] != made[1]["text"]
    assert all(len(one["tokens"]) <= 6 and one["log_probability"] < 0 for one in made)
    out, _ = run(runs, capsys, *options)
    assert out == "".join(f"the{one['text']}\n" for one in made)


def test_every_prompt_of_a_file_has_draws_of_its_own(runs, capsys, tmp_path):
    """Those of `TrainedModel.generate`, with and without --json."""
    (tmp_path / "a.txt").write_text("the\nthe\n")
    options = [f"--prompts={tmp_path / 'a.txt'}", "--tokens=6", "--temperature=3", "--top_k=0"]
    made = json.loads(run(runs, capsys, "--json", *options).out)["continuations"]
    texts = [one["text"] for one in made]
    assert texts[0] != texts[1]
    assert run(runs, capsys, *options).out == "".join(f"the{text}\n" for text in texts)
    model = pretrain_jax.load(runs / "gpt")
    again = model.generate(["the", "the"], 6, temperature=3.0)
    assert [one.text for one in again] == texts


def test_prompts_come_from_files_and_from_standard_input(runs, capsys, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("the cat\na dog\n")
    (tmp_path / "a.jsonl").write_text('{"prompt": "the cat"}\n{"prompt": "a dog"}\n')
    options = ["--tokens=4", "--temperature=0"]
    out, _ = run(runs, capsys, f"--prompts={tmp_path / 'a.txt'}", *options)
    assert run(runs, capsys, f"--prompts={tmp_path / 'a.jsonl'}", *options).out == out
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\na dog\n"))
    assert run(runs, capsys, "--interactive", *options).out == out
    assert [line[:5] for line in out.splitlines()] == ["the c", "a dog"]


def test_files_of_prompts_are_read_as_editors_write_them(tmp_path):
    """A byte order mark, Windows' line ends, a blank last line, a line separator in a text."""
    (tmp_path / "a.JSONL").write_bytes(b'\xef\xbb\xbf{"prompt": "the"}\r\n\r\n')
    (tmp_path / "a.txt").write_bytes("\ufeffa\u2028b\r\n".encode())
    assert generate.read_prompts(str(tmp_path / "a.JSONL")) == ["the"]
    assert generate.read_prompts(str(tmp_path / "a.txt")) == ["a\u2028b"]


def test_a_prompt_that_is_refused_does_not_end_the_session(runs, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(40 * "a" + "\nthe\n"))
    out, err = run(runs, capsys, "--interactive", "--tokens=3", "--temperature=0")
    assert out.startswith("the") and "16 positions; received 41 tokens" in err
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputMissing, match="it is closed"):
        run(runs, capsys, "--interactive")


def test_beams_and_stops(runs, capsys):
    out, _ = run(runs, capsys, "--prompt=the", "--tokens=8", "--beams=3", "--length_penalty=0.6")
    again, err = run(runs, capsys, "--prompt=the", "--tokens=8", "--beams=3", f"--stop={out[5]}")
    assert again == out[: out.index(out[5], 3)] + "\n" and "[stop]" in err


def test_the_help_gives_the_defaults():
    """ "(0.8)" or "(default: 100)" at the end of an option's lines."""
    text = " ".join((generate.__doc__ or "").split())
    found = dict(re.findall(r"--(\w+) (?:(?!--)[^()])*\((?:default: )?([\d.]+)\)\.", text))
    defaults = {**generate.FLAGS, **generate.SAMPLING}
    assert {name: float(value) for name, value in defaults.items() if value} == {
        name: float(value) for name, value in found.items()
    }


def test_every_option_of_sampling_is_read(runs, capsys):
    """Each changes what is generated; --cut makes room for a prompt that is too long."""
    options = ["--prompt=the cat", "--tokens=8", "--temperature=3"]
    plain = run(runs, capsys, *options, "--top_k=0").out
    for option in ("--top_k=1", "--top_p=0.01", "--min_p=1", "--seed=9"):
        others = ["--top_k=0"] * (option != "--top_k=1")
        assert run(runs, capsys, *options, *others, option).out != plain, option
    again = ["--prompt=aaaa", "--tokens=8", "--temperature=0"]
    assert run(runs, capsys, *again).out != run(runs, capsys, *again, "--repetition_penalty=9").out
    assert run(runs, capsys, "--prompt=" + 40 * "a", "--tokens=2", "--cut").out


def test_a_t5_answers_and_an_encoder_fills(runs, capsys):
    prompt = "--prompt=the <extra_id_0> sat"
    out, _ = run(runs, capsys, prompt, "--tokens=4", "--temperature=0", model="t5")
    assert "the" not in out[:3]
    assert len(out.replace("<extra_id_0>", "0").replace("<extra_id_1>", "1")) <= 5
    filled = run(runs, capsys, "--prompt=the c<mask>t", "--json", model="bert").out
    (blank,) = json.loads(filled)["continuations"]
    assert blank["blank"] == 0 and len(blank["fillings"]) == 5
    assert run(runs, capsys, "--prompt=the c<mask>t", model="bert").out.count("  ") == 4
    with pytest.raises(ConfigError, match="Leave out --tokens, --top_k, --cut"):
        run(runs, capsys, "--prompt=<mask>", "--cut", "--top_k=2", "--tokens=3", model="bert")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--beams=2", "--top_k=3"], "with --beams, leave out --top_k"),
        (["--beams=2", "--samples=3"], "leave out --samples"),
        (["--length_penalty=0.6"], "length_penalty is for beam search; received"),
        (["--prompt=a", "--interactive"], "one of --prompt, --prompts and --interactive"),
        (["--interactive", "--json"], "--json does not go with --interactive"),
        (["--top_p=0"], "--top_p must be a number of type float, above 0 and at most 1"),
        (["--tokens=0"], "--tokens must be"),
        (["--prompt=" + 40 * "a"], "16 positions; received 41 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(runs, options, message):
    with pytest.raises(ConfigError) as refused:
        generate.main([f"--workdir={runs / 'gpt'}", *options])
    assert message in " ".join(str(refused.value).split())


@pytest.mark.parametrize(
    "content, error, message",
    [
        (None, InputMissing, "must exist"),
        (b"", DataError, "it is empty"),
        (b"\xff\xfe\n", DataError, "must be UTF-8"),
        (b'{"text": "a"}\n', DataError, '"prompt" in .* line 1 must be a str'),
        (b"[1]\n", DataError, "line 1 must hold a JSON object"),
    ],
)
def test_a_bad_file_of_prompts_is_refused(runs, tmp_path, content, error, message):
    file = tmp_path / "a.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error, match=message):
        generate.main([f"--workdir={runs / 'gpt'}", f"--prompts={file}"])
