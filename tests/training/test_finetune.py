"""Finetuning from end to end: what comes from the source run, every example once, best, resume."""

import hashlib
import json
import shutil

import jax
import numpy as np
import pytest
import tiny_job
from etils import epath
from ml_collections import ConfigDict

from pretrain_jax import main, predict
from pretrain_jax.cluster.hosts import SINGLE_PROCESS
from pretrain_jax.composition import config as configs
from pretrain_jax.composition import corpora, init_from, resume, source_params
from pretrain_jax.composition.build import build_design
from pretrain_jax.composition.restore_source import restore_source_params
from pretrain_jax.errors import ConfigError, DataError, InputMissing, UserError, WorkdirMismatch
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.workdir.checkpoint import Checkpoints

WORDS = "the cat sat on a mat and saw dogs run over green hills".split()
MODEL = """model=dict(name="bert", vocab_size=262, layers=2, width=16, heads=2, feed_forward=32,
                   max_length=64, dropout=0.0)"""
SOURCE = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        seed=3,
        data=dict(source="text:{folder}/corpus.jsonl", seq_len=64, cache_dir="{folder}/cache"),
        tokenizer=dict(name="bytes"),
        objective=dict(name="next_sentence"),
        {model},
        optimizer=dict(name="adamw", learning_rate=1e-2, schedule="constant"),
        train=dict(steps=2, batch_size=8),
        eval=dict(every=0, tokens=100, sample_tokens=0),
    ))
"""
TASK = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        seed=1,
        init_from="{folder}/source",
        data=dict(source="text:{folder}/train.tsv", validation="text:{folder}/valid.tsv",
                  seq_len=64, cache_dir="{folder}/cache"),
        tokenizer=dict(name="bytes"),
        objective=dict(name="classify", dropout=0.0),
        {model},
        optimizer=dict(name="adamw", learning_rate=3e-3, schedule="constant"),
        train=dict(steps=6, batch_size=8, log_every=1),
        checkpoint=dict(every=3, keep=1),
        eval=dict(every=3),
    ))
"""


def sentences(count, seed):
    """Texts of four words, with the label yes where the word "cat" is in them."""
    draw = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        words = [str(word) for word in draw.choice([w for w in WORDS if w != "cat"], 4)]
        if draw.integers(2):
            words[draw.integers(4)] = "cat"
        lines.append(f"{' '.join(words)}\t{'yes' if 'cat' in words else 'no'}\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pretrained run `source`, records and a config `task.py`."""
    root = tmp_path_factory.mktemp("finetune")
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, draw.integers(8, 40))) + "." for _ in range(120)]
    (root / "corpus.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    (root / "train.tsv").write_text(sentences(150, 1))
    (root / "valid.tsv").write_text(sentences(43, 2))
    for name, text in (("source", SOURCE), ("task", TASK)):
        (root / f"{name}.py").write_text(text.format(folder=root, model=MODEL))
    assert run(root, "source", root / "source") == 0
    return root


def run(folder, name, workdir, *options):
    return main.main([f"--config={folder}/{name}.py", f"--workdir={workdir}", *options])


@pytest.fixture(scope="module")
def finetuned(folder):
    assert run(folder, "task", folder / "tuned") == 0
    return folder / "tuned"


def objects(path):
    """The JSON objects of a file, one per line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def design_of(folder, *overrides):
    settings = configs.read(f"{folder}/task.py", overrides)
    fixed, _ = resume.config_to_resume(settings, epath.Path(folder) / "nowhere")
    return build_design(fixed, tuple(jax.devices()[:1]))


def source_arrays(workdir, step=2):
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        shapes = checkpoints.metadata(step)
        state = checkpoints.restore(step, source_params.unflatten_dict(
            {tuple(k.split("/")): v for k, v in shapes.items() if k.startswith("params/")}
        ), partial=True)  # fmt: skip
    return dict(named_leaves(state["params"]))


def start_params(folder, *overrides):
    """(the parameters at step 0, the fresh ones) of the task."""
    design = design_of(folder, *overrides)
    fresh = design.update.init_state().params
    tokenizer = init_from.load_source_tokenizer(init_from.source_workdir(design.spec))
    started = restore_source_params(design, fresh, SINGLE_PROCESS, tokenizer)
    arrays = [{k: np.asarray(v) for k, v in named_leaves(x)} for x in (started, fresh)]
    return design, *arrays, started


def test_every_parameter_but_the_head_has_the_bits_of_the_source(folder):
    design, params, fresh, _ = start_params(folder)
    source = source_arrays(folder / "source")
    borrowed = {"classify/pooler/kernel", "classify/pooler/bias"}
    heads = {name for name in params if name.startswith("classify/")}
    assert heads - borrowed == {"classify/output/kernel", "classify/output/bias"}
    for name, array in params.items():
        origin = name.replace("classify/pooler", "next_sentence/pooler")
        wanted = source[origin] if origin in source else fresh[name]
        assert np.array_equal(array, wanted), name
    assert {name for name in params if np.array_equal(params[name], fresh[name])} <= {
        *("classify/output/kernel", "classify/output/bias"),
        *(name for name in params if name.endswith(("bias", "scale"))),
    }
    assert "output/bias" not in params and design.spec.objective.labels == ("no", "yes")


def test_the_first_loss_is_that_of_the_sources_features_and_the_fresh_head(folder):
    """logits = (tanh(h W + b)) V + c with h of the source: computed here from the arrays alone."""
    design, params, _, tree = start_params(folder)
    feed_batch = batch_of(folder, design)
    apply = design.model.apply
    hidden = apply(tree, feed_batch, jax.random.key(0), False).hidden
    at = np.take_along_axis(np.asarray(hidden), np.asarray(feed_batch["example_at"])[..., None], 1)
    pooled = np.tanh(at @ params["classify/pooler/kernel"] + params["classify/pooler/bias"])
    logits = pooled @ params["classify/output/kernel"] + params["classify/output/bias"]
    labels, weights = (np.asarray(feed_batch[n]) for n in ("labels", "label_weights"))
    nll = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, labels[..., None], 2)[..., 0]
    total, weight = design.task.objective.loss(apply, tree, feed_batch, jax.random.key(0), False)[
        "loss"
    ]
    assert float(weight) == weights.sum() > 8
    assert float(total / weight) == pytest.approx((nll * weights).sum() / weights.sum(), rel=1e-5)


def batch_of(folder, design):
    from pretrain_jax.composition.feed import Feed

    feed = Feed.open(design, epath.Path(folder) / "feed")
    return {
        k: jax.numpy.asarray(v) for k, v in next(feed.batches(design.spec.phases[0], 0)).items()
    }


def test_another_source_gives_other_features(folder, tmp_path):
    """A source with one changed array of the body changes the hidden states at step 0."""
    design, _, _, tree = start_params(folder)
    feed_batch = batch_of(folder, design)
    other = jax.tree.map(lambda x: x, tree)
    other["embedding"]["tokens"] = other["embedding"]["tokens"] * 1.5
    hidden = [design.model.apply(p, feed_batch, jax.random.key(0), False).hidden
              for p in (tree, other)]  # fmt: skip
    assert not np.allclose(*hidden, atol=1e-3)


def test_a_checkpoint_of_the_source_can_be_named(folder):
    step = ("init_from", f"{folder}/source/checkpoints/2")
    _, params, _, _ = start_params(folder, step)
    assert np.array_equal(
        params["embedding/tokens"], source_arrays(folder / "source")["embedding/tokens"]
    )


@pytest.mark.parametrize(
    "overrides, message",
    [
        ([("model.layers", "3")], "needs the same model"),
        ([("model.width", "32")], "needs the same model"),
    ],
)
def test_a_source_of_another_shape_is_refused(folder, tmp_path, overrides, message):
    options = [f"--config.{key}={value}" for key, value in overrides]
    with pytest.raises(WorkdirMismatch, match=message):
        run(folder, "task", tmp_path / "w", *options)
    assert not (tmp_path / "w" / "checkpoints").exists() or not list(
        (tmp_path / "w" / "checkpoints").iterdir()
    )


def test_an_array_that_is_neither_taken_nor_fresh_is_refused_with_both_shapes(folder):
    design = design_of(folder)
    with Checkpoints(folder / "source" / "checkpoints", read_only=True) as checkpoints:
        stored = checkpoints.metadata(2)
    axes = init_from.vocabulary_axes(design)
    found = source_params.find_origins(design, stored, axes, "there")
    assert found.fresh == ("classify/output/bias", "classify/output/kernel")
    assert "output/bias" in found.left
    name = "params/stack/layers/feed_forward/up/kernel"
    changed = {**stored, name: jax.ShapeDtypeStruct((2, 16, 31), np.float32)}
    with pytest.raises(WorkdirMismatch, match=r"\(2, 16, 32\) is \(2, 16, 31\) there"):
        source_params.find_origins(design, changed, axes, "there")
    with pytest.raises(WorkdirMismatch, match=r"embedding/norm/bias .* is not there"):
        source_params.find_origins(design, {}, axes, "there")


def test_every_example_is_scored_once(folder, finetuned):
    """On any mesh and with any batch: the same predictions, in the order of the file."""
    reports = objects(finetuned / "predictions.jsonl")
    labels = [line.split("\t")[1] for line in (folder / "valid.tsv").read_text().splitlines()]
    assert [report["number"] for report in reports] == list(range(43))
    assert [report["label"] for report in reports] == labels
    line = [x for x in tiny_job.lines(finetuned) if "valid/accuracy" in x][-1]
    hits = sum(report["label"] == report["prediction"] for report in reports)
    assert line["valid/items"] == 43 and line["valid/accuracy"] == pytest.approx(hits / 43)
    assert line["yardstick/majority"] == max(labels.count("no"), labels.count("yes")) / 43


MESHES = {
    "larger batches": ["--config.train.batch_size=16"],
    "fsdp": ["--config.mesh.data=4", "--config.mesh.fsdp=2"],
    "tensor": ["--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2"],
}


@pytest.mark.parametrize("options", MESHES.values(), ids=MESHES)
def test_evaluation_is_the_same_on_other_meshes(finetuned, capsys, options):
    assert main.main(["--mode=eval", f"--workdir={finetuned}", *options]) == 0
    values = json.loads(capsys.readouterr().out)
    line = [x for x in tiny_job.lines(finetuned) if "valid/accuracy" in x][-1]
    assert values["valid/items"] == 43
    for key in ("valid/accuracy", "valid/f1", "valid/matthews"):
        assert values[key] == line[key]
    assert values["valid/objective"] == pytest.approx(line["valid/objective"], rel=1e-5)


def test_a_stopped_run_resumes_with_the_same_bits(folder, finetuned, tmp_path):
    assert run(folder, "task", tmp_path / "w", "--config.train.steps=3") == 0
    assert run(folder, "task", tmp_path / "w") == 0
    name = "predictions.jsonl"
    assert (tmp_path / "w" / name).read_bytes() == (finetuned / name).read_bytes()
    assert digest(tmp_path / "w") == digest(finetuned)
    assert tiny_job.losses(tmp_path / "w") == tiny_job.losses(finetuned)


def digest(workdir):
    hasher = hashlib.sha256()
    for name, array in sorted(source_arrays(workdir, 6).items()):
        hasher.update(name.encode() + np.asarray(array).tobytes())
    return hasher.hexdigest()


def test_the_best_checkpoint_is_kept_and_the_run_stops_early(folder, tmp_path):
    """A learning rate of 0 never improves: the first evaluation stays the best one."""
    options = ["--config.optimizer.learning_rate=0", "--config.train.steps=30",
               "--config.eval.patience=2", "--config.checkpoint.every=3"]  # fmt: skip
    assert run(folder, "task", tmp_path / "w", *options) == 0
    evaluated = [x["step"] for x in tiny_job.lines(tmp_path / "w") if "valid/accuracy" in x]
    assert evaluated == [3, 6, 9]
    kept = sorted(int(path.name) for path in (tmp_path / "w" / "checkpoints").iterdir())
    assert kept == [3, 9]
    before = (tmp_path / "w" / "metrics.jsonl").read_bytes()
    assert run(folder, "task", tmp_path / "w", *options) == 0  # finished: nothing more happens
    assert (tmp_path / "w" / "metrics.jsonl").read_bytes() == before


def test_preflight_shows_examples_as_tokens(folder, tmp_path, capsys):
    assert run(folder, "task", tmp_path / "w", "--mode=preflight") == 0
    shown = capsys.readouterr().out
    assert "classify on text:" in shown and "label" in shown and " at <cls>" in shown
    assert not (tmp_path / "w").exists()


def test_an_unlabelled_file_is_predicted(folder, finetuned, tmp_path, capsys):
    texts = [line.split("\t")[0] for line in (folder / "valid.tsv").read_text().splitlines()]
    (tmp_path / "new.tsv").write_text("\n".join(texts))
    line = [f"--workdir={finetuned}", f"--source=text:{tmp_path}/new.tsv"]
    assert predict.main([*line, f"--out={tmp_path}/out.jsonl"]) == 0
    assert capsys.readouterr().out == ""
    made = objects(tmp_path / "out.jsonl")
    known = objects(finetuned / "predictions.jsonl")
    assert [x["prediction"] for x in made] == [x["prediction"] for x in known]
    for a, b in zip(made, known, strict=True):
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-6)
        assert "label" not in a and sum(a["probabilities"].values()) == pytest.approx(1)
    labelled = [f"--workdir={finetuned}", f"--source=text:{folder}/valid.tsv"]
    assert predict.main([*labelled, f"--out={tmp_path}/two.jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["valid/items"] == 43
    with pytest.raises(ConfigError, match="--out must be a new file"):
        predict.main([*labelled, f"--out={tmp_path}/two.jsonl"])


def test_columns_checkpoint_and_batch_of_a_prediction_can_be_named(
    folder, finetuned, tmp_path, capsys
):
    """The same predictions from named columns, in other batches; other ones from another step."""
    rows = [line.split("\t") for line in (folder / "valid.tsv").read_text().splitlines()]
    named = ["id\tbody\ttone", *(f"{n}\t{text}\t{label}" for n, (text, label) in enumerate(rows))]
    (tmp_path / "named.tsv").write_text("\n".join(named))
    line = [f"--workdir={finetuned}", f"--source=text:{tmp_path}/named.tsv"]
    line += ["--fields=body", "--label_key=tone", "--batch_size=2"]
    with Checkpoints(finetuned / "checkpoints", read_only=True) as checkpoints:
        steps = checkpoints.steps()
    assert len(steps) == 2 and steps[-1] == 6  # the best one and the last one
    for step in steps:
        assert predict.main([*line, f"--step={step}", f"--out={tmp_path}/{step}.jsonl"]) == 0
        assert json.loads(capsys.readouterr().out)["valid/items"] == 43
    known = objects(finetuned / "predictions.jsonl")
    for step in steps:
        pairs = zip(objects(tmp_path / f"{step}.jsonl"), known, strict=True)
        same = [a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-6) for a, b in pairs]
        assert all(same) if step == 6 else not any(same)


@pytest.mark.parametrize(
    "options, tolerance",
    [
        (["--config.data.workers=2"], 0.0),
        (["--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2"], 1e-5),
    ],
    ids=["workers", "mesh"],
)
def test_neither_workers_nor_the_mesh_change_the_losses(
    folder, finetuned, tmp_path, options, tolerance
):
    assert run(folder, "task", tmp_path / "w", *options, "--config.train.steps=3") == 0
    losses = tiny_job.losses(finetuned)
    for step, loss in tiny_job.losses(tmp_path / "w").items():
        assert loss == pytest.approx(losses[step], rel=tolerance, abs=0)


REFUSED = {
    "a label that training does not have": (
        {"valid.tsv": "a cat\tmaybe\n"}, [], DataError, r"valid.tsv line 1 has 'maybe'"),
    "a missing column": (
        {}, ["--config.data.fields=('body',)", "--config.data.label_key=label"], DataError, "body"),
    "a pair where one text is asked for": (
        {"train.tsv": "a\tb\tyes\nc\td\tno\n"}, ["--config.objective.texts=1"], DataError, "has 2"),
    "one class": (
        {"train.tsv": "a\tyes\nb\tyes\n"}, [], DataError, "two classes or more"),
    "a row without room": (
        {}, ["--config.data.seq_len=2"], ConfigError, "room for 2 special tokens"),
    "a missing file": (
        {}, ["--config.data.validation=text:nowhere.tsv"], InputMissing, "nowhere.tsv"),
    "a source without records": (
        {}, ["--config.data.source=stdlib"], DataError, "needs records"),
    "a metric that the objective does not have": (
        {}, ["--config.objective.metric=pearson"], ConfigError, "objective.metric"),
    "weights of another number": (
        {}, ["--config.objective.class_weights=(1, 2, 3)"], ConfigError, "class_weights"),
    "patience without labels": (
        {}, ["--config.objective.name=masked_lm", "--config.eval.patience=2"], ConfigError,
        "eval.patience"),
    "a column that is text and label": (
        {}, ["--config.data.fields=('0',)", "--config.data.label_key=0"], ConfigError, "'0' twice"),
    "no checkpoint of the source": (
        {}, ["--config.init_from={folder}/source/checkpoints/99"], InputMissing, "99"),
    "tokens of an evaluation by examples": (
        {}, ["--config.eval.tokens=100"], ConfigError, "scores every example"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_ends_early_in_one_sentence(folder, tmp_path, case):
    files, options, error, message = REFUSED[case]
    for name in ("train.tsv", "valid.tsv"):
        shutil.copy(folder / name, tmp_path / name)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "task.py").write_text(
        (folder / "task.py").read_text().replace(f"text:{folder}", f"text:{tmp_path}")
    )
    with pytest.raises(error, match=message) as caught:
        run(
            tmp_path, "task", tmp_path / "w", *(x.replace("{folder}", str(folder)) for x in options)
        )
    assert isinstance(caught.value, UserError) and caught.value.exit_code in (64, 65, 66)
    assert "\n" not in str(caught.value).strip() or error is ConfigError
    left = (
        {path.name for path in (tmp_path / "w").iterdir()} if (tmp_path / "w").exists() else set()
    )
    assert "config.json" not in left and "metrics.jsonl" not in left


def test_pretraining_continues_on_the_texts_of_a_task(folder, tmp_path):
    """data.fields reads the texts of the records without their labels, and the task follows."""
    options = ["--config.objective.name=masked_lm", f"--config.init_from={folder}/source",
               f"--config.data.source=text:{folder}/train.tsv"]  # fmt: skip
    fields = "--config.data.fields=('0',)"
    assert run(folder, "source", tmp_path / "own", *options, fields) == 0
    source = f"--config.init_from={tmp_path}/own"
    assert run(folder, "task", tmp_path / "task", source, "--config.train.steps=1") == 0
    stored = json.loads((tmp_path / "own" / "config.json").read_text())
    design = build_design(ConfigDict(stored), tuple(jax.devices()[:1]))
    (read,) = corpora.open_corpora(design, None)
    lines = (folder / "train.tsv").read_text().splitlines()
    texts = {"".join(x) for split in ("train", "valid") for x in read.corpus.documents(split)}
    assert texts == {line.split("\t")[0] for line in lines}


@pytest.mark.parametrize("options, message", [
    (["--config.data.source=stdlib"], "data.fields needs records"),
    (["--config.data.source=text:{folder}/train.tsv", "--config.data.text_key=body"],
     "data.fields names the text columns"),
    (["--config.data.source=text:{folder}/train.tsv", "--config.data.label_key=1"],
     "is for objectives that read labels of records"),
])  # fmt: skip
def test_fields_of_plain_text_that_do_not_fit_are_refused(folder, tmp_path, options, message):
    line = [x.format(folder=folder) for x in options]
    with pytest.raises(UserError, match=message):
        run(folder, "source", tmp_path / "w", "--config.data.fields=('0',)", *line)


def test_records_that_are_cut_are_counted(folder, tmp_path, caplog):
    """Of 50 records, 20 have 100 bytes more than a row of 64 tokens."""
    lines = [f"{'x' * (150 if i < 20 else 10)}{i}\t{'yes' if i % 2 else 'no'}\n" for i in range(50)]
    (tmp_path / "long.tsv").write_text("".join(lines))
    options = [f"--config.data.source=text:{tmp_path}/long.tsv", "--config.train.steps=1"]
    assert run(folder, "task", tmp_path / "w", *options) == 0
    assert "20 of 50 records are longer than a row and lose the end" in caplog.text


def test_an_early_stop_says_so_and_names_how_to_go_on(folder, tmp_path, capfd):
    options = ["--config.optimizer.learning_rate=0", "--config.train.steps=30",
               "--config.eval.patience=1"]  # fmt: skip
    assert run(folder, "task", tmp_path / "w", *options) == 0
    shown = capfd.readouterr().err
    assert "stopped at step 6: valid/accuracy was not better in the last 1 evaluation " in shown
    assert "--config.train.steps=60 --config.eval.patience=0" in shown


def test_a_checkpoint_is_predicted_by_its_folder(folder, finetuned, tmp_path):
    source = f"--source=text:{folder}/valid.tsv"
    for name, line in (
        ("a", [f"--workdir={finetuned}/checkpoints/6"]),
        ("b", [f"--workdir={finetuned}", "--step=6"]),
    ):
        assert predict.main([*line, source, f"--out={tmp_path}/{name}"]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ConfigError, match="received step=3 too"):
        predict.main([f"--workdir={finetuned}/checkpoints/6", "--step=3", source, "--out=x"])


def test_errors_of_predict_name_its_own_options(finetuned, tmp_path):
    (tmp_path / "four.tsv").write_text("a\tb\tc\td\n")
    line = [f"--workdir={finetuned}", f"--source=text:{tmp_path}/four.tsv", "--out=never.jsonl"]
    with pytest.raises(DataError, match=r"--fields=TEXT --label_key=LABEL") as caught:
        predict.main(line)
    assert "data." not in str(caught.value)


@pytest.mark.parametrize("change, verdict", [
    ([], "ok   init_from"),
    (["--config.model.layers=3"], "FIX  init_from"),
    (["--config.init_from={folder}/source/checkpoints/99"], "FIX  init_from"),
])  # fmt: skip
def test_preflight_checks_the_source_run(folder, tmp_path, capsys, change, verdict):
    options = [x.format(folder=folder) for x in change]
    code = run(folder, "task", tmp_path / "w", "--mode=preflight", *options)
    shown = capsys.readouterr().out
    assert verdict in shown and (code == 0) == (not change)


def test_many_passes_over_few_records_are_no_failure(folder, tmp_path, capsys):
    assert run(folder, "task", tmp_path / "w", "--mode=preflight",
               "--config.train.steps=20000") == 0  # fmt: skip
    assert "passes over" in capsys.readouterr().out


def test_predict_refuses_what_would_be_lost_or_meant_otherwise(folder, finetuned, tmp_path):
    line = [f"--workdir={finetuned}", f"--source=text:{folder}/valid.tsv"]
    (tmp_path / "x.tmp").write_text("mine")
    (tmp_path / "h.tsv").write_text("text\tlabel\na\tyes\n")
    other = [f"--workdir={finetuned}", f"--source=text:{tmp_path}/h.tsv"]
    for words, error, message in (
        ([*line, f"--out={tmp_path}/no/folder"], UserError, "there is no folder"),
        ([*line, f"--out={tmp_path}/x"], ConfigError, "Move it away"),
        ([*other, f"--out={tmp_path}/y", "--label_key=typo"], DataError, "'typo'"),
    ):
        with pytest.raises(error, match=message):
            predict.main(words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.tsv", "x.tmp"]


def test_validation_on_the_training_text_is_said(folder, tmp_path, caplog):
    options = [f"--config.data.validation=text:{folder}/train.tsv", "--config.train.steps=1"]
    assert run(folder, "task", tmp_path / "w", *options) == 0
    assert "the run is validated on its training text" in caplog.text
