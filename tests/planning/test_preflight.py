"""--mode=preflight: a correct checklist and preview, without side effects."""

import json
import logging
import re
import shutil

import jax
import numpy as np
import pytest
import tiny_job
from etils import epath
from sequences import together

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.feed import Feed
from pretrain_jax.data.pack import pack
from pretrain_jax.devices import chips
from pretrain_jax.planning import preflight, preview, rendering
from pretrain_jax.tokenizers import byte_bpe, sentencepiece, wordpiece
from pretrain_jax.workdir import run_config

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat run ##n ##ing ,".split()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A WordPiece vocabulary small enough to read: the 5, cat 6, sat 7, on 8, mat 9, run 10 ..."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return wordpiece.load(folder, sentinels=2)


def ids(tokenizer, spelled):
    """Ids of pieces and special tokens, written as they are spelled."""
    known = {tokenizer.id_to_token(i): i for i in range(tokenizer.size)}
    return np.array([known[piece] for piece in spelled.split()], np.int32)


def lines(tokenizer, examples, *, in_place, read_out=True, **budgets):
    """The preview of one packed row of these examples; words one space apart."""
    batch = pack(together(examples), np.array([len(examples)]), budgets=budgets)
    row = {name: field[0] for name, field in batch.items()}
    return [" ".join(x.split()) for x in preview.format_row(row, tokenizer, in_place, read_out)]


def masked(tokenizer, read, at, targets):
    return {
        "tokens": ids(tokenizer, read),
        "predict_at": np.array(at),
        "targets": ids(tokenizer, targets),
        "weights": np.ones(len(at), np.float32),
    }


def test_masked_positions_are_marked_in_the_text(words):
    first = masked(words, "[CLS] the [MASK] sat , mat [MASK] ##n [SEP]", [2, 4, 6], "cat on run")
    second = masked(words, "[CLS] run [MASK] [MASK] [SEP]", [2, 3], "##n ##ing")
    assert lines(words, [first, second], in_place=True, L=16, P=8) == [
        "example 1 of 2",
        "reads [CLS] the {[MASK]→cat} sat {,→on} mat {[MASK]→run}##n [SEP]",
        "example 2 of 2",
        "reads [CLS] run{[MASK]→##n}{[MASK]→##ing} [SEP]",
    ]


def test_labels_and_types_are_shown_with_their_example(words):
    def pair(read, types, label):
        return {
            **masked(words, read, [1], "cat"),
            "types": np.array(types),
            "example_at": np.zeros(1, np.int32),
            "labels": np.array([label]),
            "label_weights": np.ones(1, np.float32),
        }

    first = pair("[CLS] [MASK] [SEP] sat [SEP]", [0, 0, 0, 1, 1], 1)
    second = pair("[CLS] [MASK] [SEP] the mat [SEP]", [0, 0, 0, 1, 1, 1], 0)
    found = lines(words, [first, second], in_place=True, L=16, P=8, E=4)
    assert found[2:4] == ["types 3 tokens of type 0, 2 tokens of type 1", "label 1 at [CLS]"]
    assert found[6:] == ["types 3 tokens of type 0, 3 tokens of type 1", "label 0 at [CLS]"]


def test_tags_and_answers_are_shown_at_their_tokens(words):
    """The tag of a word is a number, and no token."""
    tags = {"targets": np.array([1, 0]), "weights": np.ones(2, np.float32)}
    tagged = {"tokens": ids(words, "[CLS] the cat [SEP]"), "predict_at": np.array([1, 2]), **tags}
    found = lines(words, [tagged, tagged], in_place=True, read_out=False, L=16, P=8)
    example = ["reads [CLS] the cat [SEP]", "label 1 at the, 0 at cat"]
    assert found == ["example 1 of 2", *example, "example 2 of 2", *example]

    def asked(start, end):
        ends = {"start_at": np.array([start]), "end_at": np.array([end])}
        read = ids(words, "[CLS] the [SEP] cat sat on [SEP]")
        return {"tokens": read, **ends, "label_weights": np.ones(1, np.float32)}

    found = lines(words, [asked(3, 4), asked(0, 0)], in_place=True, read_out=False, L=16, E=4)
    assert found[2::3] == ["answer cat sat", "answer [CLS]"]


def test_memory_and_shifted_answers_are_texts(words):
    def example(memory, targets):
        targets = ids(words, targets)
        return {
            "memory_tokens": ids(words, memory),
            "tokens": np.array([words.pad, *targets[:-1]]),
            "targets": targets,
            "weights": np.ones(len(targets), np.float32),
        }

    first = example("the <extra_id_0> mat", "<extra_id_0> cat sat on the")
    second = example("<extra_id_0> sat", "<extra_id_0> run ##n ##ing")
    assert lines(words, [first, second], in_place=False, L=12, M=8) == [
        "example 1 of 2",
        "memory the <extra_id_0> mat",
        "reads [PAD] <extra_id_0> cat sat on",
        "predicts <extra_id_0> cat sat on the",
        "example 2 of 2",
        "memory <extra_id_0> sat",
        "reads [PAD] <extra_id_0> run ##n".replace(" ##n", "n"),
        "predicts <extra_id_0> running",
    ]


def test_one_stream_with_a_prefix(words):
    example = {
        "tokens": ids(words, "the cat sat on the"),
        "prefix": np.array([1, 1, 1, 0, 0], np.bool_),
        "predict_at": np.array([2, 3, 4]),
        "targets": ids(words, "on the mat"),
        "weights": np.ones(3, np.float32),
    }
    assert lines(words, [example, example], in_place=False, L=12, P=8)[5:] == [
        "prefix the cat sat",
        "then reads on the",
        "predicts on the mat",
    ]


def test_unpredicted_tokens_are_left_out_of_the_targets(words):
    tokens, targets = ids(words, "the cat sat on the"), ids(words, "cat sat on the mat")
    weights = np.array([1, 0, 0, 1, 1], np.float32)
    example = {"tokens": tokens, "targets": targets, "weights": weights}
    found = lines(words, [example], in_place=False, L=6)
    assert found[1:] == ["reads the cat sat on the", "predicts cat ... the mat"]


def test_other_answer_fields_of_a_prediction(words):
    example = {
        **masked(words, "[CLS] the [MASK] [MASK] on mat [SEP]", [2, 3], "cat sat"),
        "left_at": np.array([1, 1]),
        "right_at": np.array([4, 4]),
        "span_positions": np.array([0, 1]),
        "span_weights": np.ones(2, np.float32),
    }
    boundary = "left_at the, right_at on, span_positions {}, span_weights 1"
    found = lines(words, [example, example], in_place=True, L=16, P=8)
    assert (
        found[2:4]
        == found[6:]
        == [f"with {word}: {boundary.format(k)}" for k, word in enumerate(["cat", "sat"])]
    )


@pytest.mark.parametrize("name", ["byte_bpe", "sentencepiece"])
def test_tokens_that_contain_their_spaces(tmp_path, name):
    """Marks inside and between words leave the text unchanged."""
    module = {"byte_bpe": byte_bpe, "sentencepiece": sentencepiece}[name]
    text = "the cat sat on the mat and the cat ran\n"
    module.train([text * 50], tmp_path, vocab_size=280)
    tokenizer = module.load(tmp_path)
    tokens = tokenizer.encode(text)
    hidden, predicted = tokens.copy(), {}
    for place in range(2, len(tokens), 3):
        hidden[place] = tokenizer.mask
        predicted[place] = tokens[place]
    written = rendering.render_tokens(tokenizer, hidden, predicted)
    mask = tokenizer.id_to_token(tokenizer.mask)
    assert written.count(f"{{{mask}→") == len(predicted)
    plain = written.replace(f"{{{mask}→", "").replace("}", "")
    for visible in ("\\n", "Ċ", "<0x0A>"):
        plain = plain.replace(visible, "")
    assert plain.replace("Ġ", "").replace("▁", "").split() == text.split()


def test_long_text_is_truncated_and_control_characters_are_escaped():
    (first, *more) = rendering.format_entry("reads", "x y " * 1000)
    assert len(more) < 10 and all(len(line) <= 100 for line in (first, *more))
    assert "(3500 more characters)" in " ".join(" ".join(more).split())
    assert rendering.escape_control("a\x1b[31m\nb") == "a\\x1b[31m\\nb"


# --- complete output ------------------------------------------------------------------------------

MASKED_LM = [("objective.name", "masked_lm"), ("model.name", "bert")]
TINY = {
    "causal_lm": [],
    "masked_lm": MASKED_LM,
    "next_sentence": [*MASKED_LM[1:], ("objective.name", "next_sentence")],
    "span_boundary": [*MASKED_LM[1:], ("objective.name", "span_boundary")],
    "span_corruption": [("objective.name", "span_corruption"), ("model.name", "t5")],
}
TABLE = ("model.max_length", "48")
LONGER = [("data.seq_len", "48"), ("tokenizer.sentinels", "20"), ("model.vocab_size", "282")]


ONE = jax.devices()[:1]


@pytest.fixture
def job(tmp_path):
    return tiny_job.write(tmp_path)


def settings(job, overrides):
    """The tiny config; for T5 with `head_width` instead of `max_length`."""
    if ("model.name", "t5") in overrides:
        job.write_text(job.read_text().replace("max_length=16", "head_width=8"))
    return config.read(str(job), overrides)


def page(job, capsys, *overrides):
    assert preflight.preflight(settings(job, overrides), str(job.parent / "run"), ONE) == 0
    return capsys.readouterr().out


def refused(job, capsys, *overrides, run="run", devices=ONE):
    """The exit code, and the output from the first FIX on; words one space apart."""
    code = preflight.preflight(settings(job, overrides), str(job.parent / run), devices)
    output = " ".join(capsys.readouterr().out.split())
    assert "FIX " in output
    return code, output[output.index("FIX ") :]


def stream_of(job, *overrides):
    fixed = fix_schedule(settings(job, overrides))
    feed = Feed.open(build_design(fixed, (jax.devices()[0],)), epath.Path(job.parent / "other"))
    return feed, feed.stream("train", feed.design.spec.data.seq_len)


@pytest.mark.parametrize("name", TINY)
def test_the_preview_shows_the_rows(job, capsys, caplog, name):
    overrides = [*LONGER, *TINY[name]]
    overrides += [] if name == "span_corruption" else [TABLE]
    with jax.log_compiles(), caplog.at_level(logging.DEBUG):
        output = page(job, capsys, *overrides)
    assert not [r for r in caplog.records if "Compiling" in r.getMessage()]
    assert "bytes, 282 ids" in output
    assert 'pad 256 "<pad>", bos 257 "<bos>", eos 258 "<eos>", mask 259 "<mask>"' in output
    assert '20: 281 "<extra_id_0>" to 262 "<extra_id_19>"' in output
    feed, stream = stream_of(job, *overrides)
    batch = stream.batch(range(64), feed.design.spec.seed)
    padding = 1 - sum(len(row[row > 0]) for row in batch["segments"]) / batch["segments"].size
    assert any(
        line.split()[:4] == ["L", "stream", str(stream.budgets["L"]), f"{padding:.2%}"]
        for line in output.splitlines()
    )
    predicted = (batch["weights"] > 0).sum() / 64
    assert f" {predicted:.1f} predictions" in output
    assert f"{len(stream.members[0].rows)} " in output
    if feed.design.task.objective.attention == "full":
        assert "{<mask>→" in output
    else:
        assert "predicts" in output
    assert ("label " in output) == ("labels" in feed.design.task.objective.fields)
    assert ("left_at" in output) == ("left_at" in feed.design.task.objective.fields)
    if "memory_tokens" in feed.design.task.objective.fields:
        assert "<extra_id_0>" in output and "M memory" in output


@pytest.mark.parametrize(
    ("changes", "code"),
    [([], 0), ([("train.steps", "200_000")], 65)],
)
def test_too_little_text_is_an_error(job, capsys, changes, code):
    assert preflight.preflight(settings(job, changes), str(job.parent / "run"), ONE) == code
    output = capsys.readouterr().out
    assert ("FIX  epochs" in output) == bool(code) and ("ok   epochs" in output) != bool(code)
    assert "data.source" in output or not code
    assert "example 1 of" in output  # the preview of the data is there in any case


def test_epochs_are_counted_over_all_phases_and_members(job, capsys):
    phases = ("train.phases", '((0, {"seq_len": 8}), (100_000, {"seq_len": 16}))')
    run = str(job.parent / "run")
    once = [("train.steps", "6_000"), ("data.seq_len", "8")]
    assert preflight.preflight(settings(job, [*once]), run, ONE) == 0
    assert "bring little" in " ".join(capsys.readouterr().out.split())
    assert preflight.preflight(settings(job, [("train.steps", "120_000"), phases]), run, ONE) == 65


def answers(job, capsys, text, *overrides):
    """The preview of text-to-text pairs; words one space apart."""
    pairs = job.parent / "pairs.jsonl"
    rows = [{"text": text(n), "answer": f"{n % 7}"} for n in range(800)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = [("objective.name", "text_to_text"), ("data.source", f"text:{pairs}")]
    given += [("data.target_key", "answer"), ("train.steps", "5"), *overrides]
    run = str(job.parent / "run")
    assert preflight.preflight(settings(job, given), run, ONE) == 0
    return " ".join(capsys.readouterr().out.split())


T5 = ("model.name", "t5")
PROPOSED = re.compile(r"--config\.(objective\.targets_length|data\.seq_len)=(\d+)")


def padding_of(output, axis):
    (found,) = re.findall(rf"{axis} \w+ \d+ ([\d.]+)%", output)
    return float(found)


def proposed(output):
    """(key, value) of the option that the preview proposes; at most one."""
    (found,) = PROPOSED.findall(output) or [("", "")]
    return found


def test_padding_of_answers_proposes_a_smaller_targets_length(job, capsys):
    output = answers(job, capsys, lambda n: f"number {n}", T5, ("data.seq_len", "32"))
    assert padding_of(output, "L") > 80
    key, value = proposed(output)
    assert key == "objective.targets_length" and int(value) < 128
    better = answers(job, capsys, lambda n: f"number {n}", T5, ("data.seq_len", "32"), (key, value))
    assert padding_of(better, "L") <= 50 and not proposed(better)[0]


def test_rows_full_of_answers_propose_a_larger_targets_length(job, capsys):
    more = ("model.max_length", "128"), ("objective.inputs", "prefix"), ("data.seq_len", "128")
    small = ("objective.targets_length", "4")
    output = answers(job, capsys, lambda n: f"number {n}", *more, small)
    assert padding_of(output, "L") > 50
    key, value = proposed(output)
    assert key == "objective.targets_length" and int(value) > 4
    better = answers(job, capsys, lambda n: f"number {n}", *more, (key, value))
    assert padding_of(better, "L") <= 50


def test_texts_shorter_than_a_row_propose_its_length(job, capsys):
    (job.parent / "short.jsonl").write_text('{"text": "the cat sat on the mat"}\n' * 3)
    source = ("data.source", f"text:{job.parent}/short.jsonl")
    more = [source, ("train.steps", "2"), ("model.max_length", "512"), ("data.seq_len", "512")]
    output = page(job, capsys, *more)
    key, value = proposed(output)
    assert key == "data.seq_len" and int(value) < 128
    assert not proposed(page(job, capsys, *more, (key, value)))[0]


def test_full_rows_propose_nothing(job, capsys):
    assert not proposed(page(job, capsys))[0]


def test_a_mixture_shows_every_member(job, capsys, tmp_path):
    (tmp_path / "other.txt").write_text("ZEBRA QUAGGA " * 2000)
    mixture = (
        f'(("text:{tmp_path}/corpus.jsonl", "causal_lm", 9.0), '
        f'("text:{tmp_path}/other.txt", "causal_lm", 1.0))'
    )
    output = page(job, capsys, ("data.mixture", mixture))
    assert "90.0%" in output and "10.0%" in output
    assert output.count("causal_lm on text:") == 4  # in the table, and above a row, each
    assert "ZEBRA" in output.replace(" ", "").replace("Z EBRA", "ZEBRA")


def test_options_of_a_member_are_named(job, capsys):
    source = f"text:{job.parent}/corpus.jsonl"
    other = {"name": "masked_lm", "rate": 0.3}
    mixture = str(((source, "masked_lm", 1.0), (source, other, 1.0)))
    output = page(job, capsys, *MASKED_LM, TABLE, ("data.mixture", mixture))
    assert f"row 0: masked_lm on {source}\n" in output
    assert f"row 1: masked_lm(rate=0.3) on {source}\n" in output


def test_each_length_of_a_phase_is_counted(job, capsys):
    output = page(job, capsys, ("train.phases", '((0, {"seq_len": 8}), (40, {"seq_len": 16}))'))
    assert "1 to 40, seq_len=8: 320 rows" in output and "41 to 60, seq_len=16: 160 rows" in output
    assert "data.seq_len=" not in output


def test_a_tokenizer_without_the_mask_is_refused(job, capsys, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(p for p in PIECES if p != "[MASK]") + "\n")
    overrides = [*MASKED_LM, ("tokenizer.name", "wordpiece")]
    overrides += [("tokenizer.path", str(tmp_path / "vocab.txt"))]
    code, output = refused(job, capsys, *overrides)
    assert code == 64 and re.match(r"FIX data .*masked_lm .*no mask .*\[MASK\]", output)


def test_a_tokenizer_with_too_few_sentinels_is_refused(job, capsys):
    code, output = refused(job, capsys, *TINY["span_corruption"], ("data.seq_len", "64"))
    assert code == 64 and re.match(
        r"FIX data .*span_corruption .*Set tokenizer\.sentinels=", output
    )


def test_an_objective_that_does_not_fit_is_refused_and_the_rest_is_skipped(job, capsys):
    code, output = refused(job, capsys, MASKED_LM[0])
    assert code == 64 and re.match(r"FIX model .*masked_lm and model\.name=gpt do not fit", output)
    for name in ("mesh", "memory", "workdir", "resuming", "data", "tokenizer"):
        assert f"-- {name} skipped until the failures above are fixed" in output


def test_checks_that_depend_on_a_failure_are_skipped(job, capsys):
    wrong = [("mesh.data", "1"), ("mesh.fsdp", "3"), ("data.source", "text:/nowhere/*.txt")]
    code, output = refused(job, capsys, *wrong, devices=jax.devices())
    assert code == 64
    assert "FIX mesh the mesh axes must multiply to the number of devices, 8" in output
    assert all(f"-- {name} skipped" in output for name in ("memory", "workdir", "resuming"))


def test_a_missing_source_has_its_own_exit_code(job, capsys):
    code, output = refused(job, capsys, ("data.source", "text:/nowhere/*.txt"))
    assert code == 66 and output.startswith("FIX data ")


def test_memory_is_compared_with_that_of_the_device(job, capsys, monkeypatch):
    monkeypatch.setattr(chips, "lookup", lambda kind: chips.Chip(1e12, 1000))
    code, output = refused(job, capsys)
    assert code == 64 and output.startswith("FIX memory a device must hold about")
    assert "has 0.000 GiB; --mode=compile" in output
    monkeypatch.setattr(chips, "lookup", lambda kind: chips.Chip(1e12, 2**34))
    assert "of 16.000 GiB per device" in page(job, capsys)


def test_a_disk_without_space_for_the_checkpoints_is_refused(job, capsys, monkeypatch):
    usage = shutil.disk_usage(job.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    code, output = refused(job, capsys)
    assert code == 74 and output.startswith("FIX workdir the workdir must have room: ")
    assert "for 3 checkpoints (checkpoint.keep=2, plus one)" in output
    assert "lower checkpoint.keep" in output


def test_a_workdir_that_cannot_be_made_is_refused(job, capsys):
    (job.parent / "file").write_text("")
    code, output = refused(job, capsys, run="file/run")
    assert code == 74 and output.startswith("FIX workdir the workdir must be a writable directory")


def test_a_checkpoint_of_other_shapes_is_refused_and_a_matching_one_resumes(job, capsys):
    run = job.parent / "run"
    done = tiny_job.run(job, run, "--config.train.steps=3")
    assert done.returncode == 0, done.stderr
    assert "resumes from step 3; 57 steps left" in page(job, capsys)
    stored = json.loads((run / "config.json").read_text())
    stored["model"]["width"] = 32
    (run / "config.json").write_text(json.dumps(stored))
    code, output = refused(job, capsys, ("model.width", "32"), ("train.steps", "3"))
    assert code == 78 and output.startswith("FIX resuming step 3 in ")


def test_no_workdir_is_made(job, capsys):
    page(job, capsys)
    assert sorted(p.name for p in job.parent.iterdir()) == ["cache", "corpus.jsonl", "tiny.py"]


def test_a_workdir_keeps_its_files(job, capsys):
    """A trained tokenizer is left for the run; that of another configuration is not replaced."""
    run = job.parent / "run"
    run.mkdir()
    trained = [("tokenizer.name", "byte_bpe"), ("model.vocab_size", "300")]
    page(job, capsys, *trained)
    assert [p.name for p in run.iterdir()] == ["tokenizer"]
    before = {p.name: p.read_bytes() for p in (run / "tokenizer").iterdir()}
    run_config.write_config(run, fix_schedule(settings(job, trained)).to_dict())
    page(job, capsys, *trained)
    code, output = refused(job, capsys, trained[0], ("model.vocab_size", "290"))
    assert code == 78 and "FIX configuration " in output
    assert "model.vocab_size: stored 300, now 290" in output
    assert before == {p.name: p.read_bytes() for p in (run / "tokenizer").iterdir()}
