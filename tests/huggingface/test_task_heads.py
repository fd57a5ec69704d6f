"""Finetuned models against transformers: equal logits and gradients, and folders both ways.

All models are tiny, in float32, with random parameters.
"""

import dataclasses
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_runs
from safetensors.numpy import load_file

import pretrain_jax
from pretrain_jax import convert
from pretrain_jax.data.pack import pack
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.evaluation import predicting
from pretrain_jax.huggingface import _check, _export, _heads
from pretrain_jax.huggingface._families import load_families, model_type
from pretrain_jax.huggingface._settings import Settings
from pretrain_jax.huggingface._table import Run, expected, read_params, write_tensors
from pretrain_jax.huggingface._tensors import Tensors
from pretrain_jax.inference import restore
from pretrain_jax.objectives._formats import FORMATS, pick_format
from pretrain_jax.objectives.classify import ClassLoss
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.ragged import Ragged
from pretrain_jax.tokenizers.bytes import Bytes

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
VOCAB, LENGTH, LABELS = Bytes(13), tiny_runs.LENGTH, ("no", "yes", "maybe")
MODELS = {
    "bert": {"name": "bert", **tiny_runs.TABLE, "dropout": 0.0},
    "roberta": {"name": "roberta", **tiny_runs.TABLE, "dropout": 0.0},
    "electra": {"name": "electra", **tiny_runs.ELECTRA, "dropout": 0.0},
    "gpt": {"name": "gpt", **tiny_runs.TABLE},
    "gpt1": {"name": "gpt1", **tiny_runs.TABLE, "feed_forward": 96},
    "llama": {"name": "llama", **tiny_runs.SIZES, "kv_heads": 2, "tied": True},
    "t5": {"name": "t5", **tiny_runs.T5, "dropout": 0.0},
    "t5_1_1": {"name": "t5_1_1", **tiny_runs.T5, "dropout": 0.0},
    "t5_encoder": {"name": "t5_encoder", **tiny_runs.T5, "dropout": 0.0},
}
PAIRS = (("ab", "cde"), ("fghij", "k"), ("lm", "nopqrs"))
IDS = {"bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256}
TOLERANCE = 1e-5


def classify(texts=2, **options):
    return {"name": "classify", "labels": LABELS, "texts": texts, "dropout": 0.0, **options}


@functools.cache
def design_of(name, texts=2):
    return tiny_runs.design_of(classify(texts), MODELS[name])


def folder_of(design):
    family = _export.find_family(design.spec.model.name)
    (folder,) = _heads.folders(family, _export.describe_run(design, VOCAB))
    return folder


def their_model(folder, family):
    """The model of a folder's class and config."""
    config = transformers.AutoConfig.for_model(model_type(family), **IDS, **folder.config)
    return getattr(transformers, folder.architecture)(config).eval()


def filled(model, folder, params):
    """The model with our parameters."""
    arrays = {tensor.name: torch.tensor(tensor.make()) for tensor in write_tensors(folder, params)}
    result = model.load_state_dict(arrays, strict=False)
    assert set(result.missing_keys) <= set(folder.tied) and not result.unexpected_keys
    return model


def packed(design, labels=()):
    """The examples as two rows that both end in padding; the fields of each example."""
    encoded = [[VOCAB.encode(text) for text in texts] for texts in zip(*PAIRS, strict=True)]
    first, second = map(Ragged.concatenate, encoded)
    numbers = Ragged.concatenate([np.array([label]) for label in labels] or [[]] * len(PAIRS))
    raw = {"first": first, "second": second, "labels": numbers}
    fields = design.task.objective.corrupt(raw, None, VOCAB)
    batch = pack(fields, np.array([2, 1]), budgets=design.task.budgets(LENGTH))
    assert (batch["segments"][:, -1] == 0).all()
    return {name: jnp.asarray(x) for name, x in batch.items()}, fields


def padded(fields):
    """The arguments of their forward: a row per example, with padding after it."""
    stream = fields.get("memory_tokens", fields["tokens"])
    sizes = stream.splits.sizes
    inside = np.arange(max(sizes)) < sizes[:, None]
    rows = {"input_ids": np.full(inside.shape, VOCAB.pad), "attention_mask": inside}
    rows["input_ids"][inside] = stream.values
    if "types" in fields:
        rows["token_type_ids"] = np.zeros(inside.shape)
        rows["token_type_ids"][inside] = fields["types"].values
    return {name: torch.tensor(x.astype(np.int64)) for name, x in rows.items()}


def example_task(design):
    task = design.task.objective.example_task
    assert task is not None
    return task


def apply_of(design):
    apply = design.model.apply
    return lambda params, batch, rng, train: apply(params, batch, rng, train)


@pytest.fixture
def tree():
    """Products of float32 are exact on both sides."""
    with jax.default_matmul_precision("highest"):
        yield


# --- logits and gradients -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "gpt", "t5"])
def test_logits_and_gradients_are_those_of_transformers(name, tree):
    """Two examples in one row and one in another, each with padding; theirs one per row."""
    design, labels = design_of(name), [2, 0, 1]
    params, folder = tiny_runs.random_params(design), folder_of(design_of(name))
    batch, fields = packed(design, labels)
    objective, apply, task = design.task.objective, apply_of(design), example_task(design)
    by_path = {path: np.asarray(leaf) for path, leaf in named_leaves(params)}
    family = _export.find_family(design.spec.model.name)
    model = filled(their_model(folder, family), folder, by_path)
    theirs = model(**padded(fields), labels=torch.tensor(labels))

    made = jax.jit(functools.partial(task.predict, apply))(params, batch)
    ours = np.asarray(made["probabilities"])[[0, 0, 1], [0, 1, 0]]
    wanted = torch.softmax(theirs.logits, -1).detach().numpy()
    assert np.ptp(wanted) > 0.05
    np.testing.assert_allclose(ours, wanted, atol=TOLERANCE)

    def loss(params):
        total, weight = objective.loss(apply, params, batch, jax.random.key(0), True)["loss"]
        return total / weight

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert float(value) == pytest.approx(theirs.loss.item(), abs=TOLERANCE)
    theirs.loss.backward()
    grads = {path: np.asarray(leaf) for path, leaf in named_leaves(gradient)}
    tensors = {tensor.name: tensor.make() for tensor in write_tensors(folder, grads)}
    parameters = dict(model.named_parameters())
    assert parameters.keys() == tensors.keys()
    for key, row in expected(folder):
        if row.ours:  # RoBERTa's row of segment types has no parameter of ours
            wanted = parameters[key].grad.numpy()
            limit = min(TOLERANCE, 1e-3 * np.abs(wanted).max() + 1e-7)  # many gradients are small
            np.testing.assert_allclose(tensors[key], wanted, rtol=0, atol=limit, err_msg=key)


@pytest.mark.parametrize("weights", [(), (0.5, 2.0, 1.5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_smoothing_and_class_weights_are_those_of_torch(smoothing, weights):
    """Value and gradient, in rows with an example without a label."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 3, 3)).astype(np.float32)
    labels = np.array([[0, 2, 0], [1, 0, 2]])
    known = np.array([[1, 1, 0], [1, 0, 1]], np.float32)

    def apply(params, batch, rng, train):
        del batch, rng, train
        return dataclasses.make_dataclass("Output", ["heads"])({"classify": params})

    def loss(logits):
        batch = {"labels": jnp.asarray(labels), "label_weights": jnp.asarray(known)}
        total, weight = ClassLoss(smoothing, weights)(apply, logits, batch, None, True)["loss"]
        return total / weight

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(logits))
    theirs = torch.tensor(logits, requires_grad=True)
    mask = torch.tensor(known) > 0
    function = torch.nn.CrossEntropyLoss(
        weight=torch.tensor(weights) if weights else None, label_smoothing=smoothing
    )
    wanted = function(theirs[mask], torch.tensor(labels)[mask])
    wanted.backward()
    assert float(value) == pytest.approx(wanted.item(), abs=TOLERANCE)
    np.testing.assert_allclose(gradient, theirs.grad, atol=TOLERANCE)


# --- the tables of all heads ----------------------------------------------------------------------

HEADS = [
    (name, head)
    for name in MODELS
    for head in _export.find_family(MODELS[name]["name"]).HEADS
    if not name.startswith("t5") or (head == "tag") == (name == "t5_encoder")
]


OBJECTIVES = {
    "classify": classify(texts=1),
    "regress": {"name": "regress", "texts": 1, "dropout": 0.0},
    "tag": {"name": "tag", "labels": LABELS, "fallback": "no", "dropout": 0.0},
    "extract_span": {"name": "extract_span", "question_length": 4},
    "multiple_choice": {"name": "multiple_choice", "choices": 2, "dropout": 0.0},
    "reward": {"name": "reward", "dropout": 0.0},
}


@functools.cache
def body_of(name):
    """(parameters by path, hidden states, batch) of the body of a model."""
    design = design_of(name, texts=1)
    params = tiny_runs.random_params(design)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 256, (2, 9)).astype(np.int32)
    tokens[:, -1] = IDS["eos_token_id"]  # which T5's class looks for
    order = np.tile(np.arange(9, dtype=np.int32), (2, 1))
    last = 8 * pick_format(design.model.architecture).reads_last
    batch = {"tokens": tokens, "segments": np.ones_like(tokens), "positions": order,
             "example_at": np.full((2, 1), last), "predict_at": order}  # fmt: skip
    if "memory_tokens" in design.task.fields:
        batch |= {f"memory_{field}": batch[field] for field in ("tokens", "segments", "positions")}
        batch["tokens"] = np.concatenate([np.full((2, 1), IDS["pad_token_id"]), tokens[:, :-1]], 1)
    with jax.default_matmul_precision("highest"):
        output = jax.jit(lambda p, b: design.model.apply(p, b, jax.random.key(0), False).hidden)
        hidden = output(params, batch)
    by_path = {path: np.asarray(leaf) for path, leaf in named_leaves(params)}
    body = {path: x for path, x in by_path.items() if not path.startswith("classify/")}
    return body, hidden, batch


def run_head(design, head, hidden, batch):
    """(random parameters by path, logits) of a head on hidden states."""
    module = dict(design.task.objective.heads)[head](name=head)
    rng, given = np.random.default_rng(2), (hidden, batch, None, False)
    boxed = module.init(jax.random.key(0), *given)["params"]
    params = jax.tree.map(
        lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), nn.meta.unbox(boxed)
    )
    by_path = {f"{head}/{path}": np.asarray(x) for path, x in named_leaves(params)}
    return by_path, module.apply({"params": params}, *given)


@pytest.mark.parametrize(("name", "head"), HEADS)
def test_the_table_of_a_head_has_all_tensors_of_its_class(name, head, tmp_path, tree):
    """Their class has exactly these tensors, computes our logits, and comes back with its bits."""
    design = tiny_runs.design_of(OBJECTIVES[head], MODELS[name])
    folder, (body, hidden, batch) = folder_of(design), body_of(name)
    of_head, ours = run_head(design, head, hidden, batch)
    params = body | of_head
    model = filled(their_model(folder, _export.find_family(MODELS[name]["name"])), folder, params)
    ids = torch.tensor(batch.get("memory_tokens", batch["tokens"]).astype(np.int64))
    with torch.no_grad():
        theirs = model(ids[:, None] if folder.takes_choices else ids)
    names = folder.heads[head]
    for column, part in zip(names, np.split(ours, len(names), axis=-1), strict=True):
        np.testing.assert_allclose(theirs[column].reshape(part.shape), part, atol=TOLERANCE)
    classes = getattr(transformers, folder.auto_class)._model_mapping
    assert classes[type(model.config)] is type(model)

    model.save_pretrained(tmp_path)
    read: dict[str, np.ndarray] = {}
    with Tensors(tmp_path) as opened:
        assert read_params(folder, opened, {p: x.shape for p, x in params.items()}, read) == []
    settings = Settings("config.json", json.loads((tmp_path / "config.json").read_text()))
    assert _heads.find_objective(settings) == {"reward": "regress"}.get(head, head)
    back = {t.name: t.make() for t in write_tensors(folder, read)}
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() == back.keys()
    assert all(np.array_equal(stored[key], back[key]) for key in stored)


# --- folders --------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch):
    """The largest differences that the check of the command finds, in this process."""
    differences, compare = [], _check.compare

    def recorded(*arguments):
        differences.append(compare(*arguments))
        return differences[-1]

    monkeypatch.setattr(_check, "call_in_child", lambda function, **options: function(**options))
    monkeypatch.setattr(_check, "compare", recorded)
    monkeypatch.setattr(_check, "TOLERANCE", TOLERANCE)
    return differences


def exported(folder, objective, model):
    workdir = tiny_runs.write_run(folder / "run", objective, model)
    assert convert.main([f"--workdir={workdir}", f"--to_hf={folder / 'hf'}"]) == 0
    return workdir, folder / "hf"


@pytest.mark.parametrize("name", ["bert", "electra", "gpt", "t5_1_1"])
def test_a_finetuned_run_comes_back_with_its_bits_and_labels(name, tmp_path, measured):
    workdir, folder = exported(tmp_path, classify(dropout=0.25), MODELS[name])
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "no", "1": "yes", "2": "maybe"}
    assert config["label2id"] == {"no": 0, "yes": 1, "maybe": 2}
    assert config["problem_type"] == "single_label_classification"
    card = (folder / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card and "Finetuned with" in card
    assert not (folder / "generation_config.json").exists()
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    model, report = load(folder, output_loading_info=True)
    assert not any(report.values()) and model.config.num_labels == 3
    assert convert.main([f"--from_hf={folder}", f"--workdir={tmp_path / 'back'}"]) == 0
    before, after = (tiny_runs.params_of(path) for path in (workdir, tmp_path / "back"))
    assert before.keys() == after.keys()
    for path, array in before.items():
        rows = 275 if len(array) == 384 else len(array)
        assert np.array_equal(array[:rows], after[path][:rows])
    objective = restore.load_design(tmp_path / "back").spec.objective
    assert objective.labels == LABELS and objective.dropout == 0.25
    assert len(measured) == 2 and all(largest > 0.1 for _, largest in measured)


def test_a_regression_comes_back_as_one(tmp_path, measured):
    objective = {"name": "regress", "texts": 1, "dropout": 0.0}
    _, folder = exported(tmp_path, objective, MODELS["roberta"])
    config = json.loads((folder / "config.json").read_text())
    assert config["problem_type"] == "regression" and config["id2label"] == {"0": "LABEL_0"}
    model = pretrain_jax.load(folder)
    assert model.design.spec.objective.name == "regress" and len(measured) == 1


COMES_BACK = {
    "tag": {"labels": LABELS, "fallback": "no"},  # its first label
    "extract_span": {"question_length": 64},  # the default
    "multiple_choice": {"choices": 0},  # as many as a file of records has
}


@pytest.mark.parametrize(
    ("head", "name"), [*((head, "bert") for head in COMES_BACK), ("tag", "t5_encoder")]
)
def test_other_heads_are_checked_and_come_back(head, name, tmp_path, measured):
    _, folder = exported(tmp_path, OBJECTIVES[head], MODELS[name])
    load = getattr(transformers, f"AutoModel{_heads.KINDS[head].ending}").from_pretrained
    assert not any(load(folder, output_loading_info=True)[1].values())
    assert f"pipeline_tag: {_heads.KINDS[head].pipeline}" in (folder / "README.md").read_text()
    assert convert.main([f"--from_hf={folder}", f"--workdir={tmp_path / 'back'}"]) == 0
    spec = restore.load_design(tmp_path / "back").spec
    assert spec.model.name == name
    assert {key: spec.objective[key] for key in COMES_BACK[head]} == COMES_BACK[head]
    assert len(measured) == 2 and max(difference for difference, _ in measured) < TOLERANCE


def test_the_read_out_of_an_auxiliary_language_model_is_left_behind(tmp_path, measured):
    untied = {**MODELS["llama"], "tied": False}
    workdir, folder = exported(tmp_path, classify(lm_weight=0.5), untied)
    assert "output/table" in tiny_runs.params_of(workdir)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert len(measured) == 1


# --- pipelines ------------------------------------------------------------------------------------


@pytest.fixture
def unchecked(monkeypatch):
    monkeypatch.setattr(_check, "find_spec", lambda name: None)


def their_answers(folder, texts):
    """{label: probability} of each text or pair, in batches of two."""
    pipe = transformers.pipeline("text-classification", model=str(folder), top_k=None)
    named = [dict(zip(("text", "text_pair"), text, strict=False)) for text in texts]
    return [{x["label"]: x["score"] for x in answer} for answer in pipe(named, batch_size=2)]


def our_answers(workdir, texts, folder):
    source, out = folder / "texts.tsv", folder / "predictions.jsonl"
    source.write_text("".join("\t".join(text) + "\n" for text in texts))
    fields = tuple(map(str, range(len(texts[0]))))
    predicting.predict_to_file(str(workdir), f"text:{source}", str(out), fields=fields)
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "texts"),
    [("bert", 1), ("bert", 2), ("roberta", 2), ("gpt", 2), ("llama", 1), ("t5", 2)],
)
def test_the_pipeline_gives_our_label_and_probability(name, texts, tmp_path, unchecked):
    """Also from the folder, imported without the number of texts."""
    chosen = [pair[:texts] for pair in PAIRS]
    workdir, folder = exported(tmp_path, classify(texts), MODELS[name])
    theirs = their_answers(folder, chosen)
    if name == "bert":
        assert convert.main([f"--from_hf={folder}", f"--workdir={tmp_path / 'back'}"]) == 0
        workdir = tmp_path / "back"
    for answer, report in zip(theirs, our_answers(workdir, chosen, tmp_path), strict=True):
        assert answer == pytest.approx(report["probabilities"], abs=TOLERANCE)
        assert report["prediction"] == max(answer, key=lambda label: answer[label])


def test_a_decoder_without_an_id_for_padding(tmp_path, unchecked, monkeypatch):
    """Another special id pads, and the class still finds the last token of each text."""
    make = Bytes.__init__

    def without_pad(self, sentinels):
        make(self, sentinels)
        self.pad = None

    monkeypatch.setattr(Bytes, "__init__", without_pad)
    workdir, folder = exported(tmp_path, classify(), MODELS["gpt"])
    assert json.loads((folder / "config.json").read_text())["pad_token_id"] == VOCAB.eos
    theirs, ours = their_answers(folder, PAIRS), our_answers(workdir, PAIRS, tmp_path)
    for answer, report in zip(theirs, ours, strict=True):
        assert answer == pytest.approx(report["probabilities"], abs=TOLERANCE)


@pytest.mark.parametrize(
    ("ids", "format", "wanted"),
    [
        ({"pad": 9, "cls": 1}, "gpt", 9),
        ({"eos": 1, "cls": 1, "bos": 2, "sep": 3}, "gpt", 2),
        ({"bos": 1, "cls": 1, "sep": 3}, "gpt", 3),
        ({"pad": 1, "cls": 1, "bos": 2, "sep": 3}, "gpt", 2),
        ({"cls": 1, "sep": 3}, "bert", 3),
    ],
)
def test_padding_is_never_the_id_that_a_text_ends_with(ids, format, wanted):
    assert _heads.padding(with_ids(ids), FORMATS[format]) == wanted


def with_ids(ids):
    tokenizer = Bytes(0)
    for name in tokenizer.special_ids:
        setattr(tokenizer, name, ids.get(name))
    return tokenizer


def test_one_special_id_for_everything_cannot_pad():
    with pytest.raises(ConfigError, match="must have an id for pad, or one other than cls=1"):
        _heads.padding(with_ids({"bos": 1, "cls": 1, "sep": 1, "eos": 1}), FORMATS["gpt"])


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "head"), [("gpt1", "tag"), ("t5", "extract_span"), ("gpt", "multiple_choice")]
)
def test_a_head_without_a_class_is_refused_with_what_there_is(name, head):
    family = _export.find_family(MODELS[name]["name"])
    with pytest.raises(ConfigError, match=rf"{head} of a model .*can have classify or .*bert"):
        _heads.pick_head(family, head)


@pytest.mark.parametrize("objective", [classify(), {"name": "masked_lm"}])
def test_the_encoder_of_a_t5_has_a_class_for_tags_alone(objective):
    design = tiny_runs.design_of(objective, MODELS["t5_encoder"])
    family = _export.find_family("t5_encoder")
    with pytest.raises(ConfigError, match=f"trained with {objective['name']}. Finetune t5"):
        _heads.folders(family, _export.describe_run(design, VOCAB))


def test_a_classifier_that_reads_pairs_in_both_orders_is_refused():
    design = tiny_runs.design_of(classify(symmetric=True), MODELS["gpt"])
    family, run = _export.find_family("gpt"), _export.describe_run(design, VOCAB)
    with pytest.raises(ConfigError, match="read a pair in one order"):
        _heads.folders(family, run)


CLASS = ["BertForSequenceClassification"]
BAD = {
    "multi_label_classification": (ConfigError, {"problem_type": "multi_label_classification"}),
    "must have one output": (ConfigError, {"problem_type": "regression"}),
    "a name of its own": (DataError, {"id2label": {"0": "a", "1": "a"}}),
    "from 0 on": (DataError, {"id2label": {"1": "a", "2": "b"}}),
    "each class": (DataError, {"id2label": ["a", "b"]}),
}


@pytest.mark.parametrize("message", BAD)
def test_settings_of_a_head_that_ours_cannot_represent_are_refused(message):
    error, values = BAD[message]
    with pytest.raises(error, match=message):
        _heads.find_objective(Settings("config.json", {"architectures": CLASS, **values}))


@pytest.mark.parametrize(
    ("values", "objective"),
    [
        ({"architectures": CLASS}, "classify"),
        ({"architectures": CLASS, "num_labels": 1}, "regress"),
        ({"architectures": CLASS, "id2label": {"0": "x"}}, "regress"),
        ({"architectures": ["ElectraForPreTraining"]}, ""),
        ({"architectures": None}, ""),
        ({}, ""),
    ],
)
def test_the_objective_of_a_class(values, objective):
    assert _heads.find_objective(Settings("config.json", values)) == objective


def test_classes_without_names_have_those_of_transformers():
    settings = Settings("config.json", {"num_labels": 3})
    config = transformers.BertConfig(num_labels=3)
    assert _heads.read_labels(settings) == tuple(config.id2label.values())


def test_a_decoder_whose_tokenizer_lacks_our_special_ids_is_not_imported(
    tmp_path, unchecked, monkeypatch
):
    _, folder = exported(tmp_path, classify(), MODELS["gpt"])
    make = Bytes.__init__

    def without_cls(self, sentinels):
        make(self, sentinels)
        self.cls = None

    monkeypatch.setattr(Bytes, "__init__", without_cls)
    with pytest.raises(ConfigError, match=r"reads the special ids bos, sep, cls .* no cls"):
        convert.main([f"--from_hf={folder}", f"--workdir={tmp_path / 'back'}"])
    assert not (tmp_path / "back").exists()


def test_every_head_of_a_family_is_of_a_kind():
    for family in load_families().values():
        assert family.HEADS.keys() <= _heads.KINDS.keys()
        assert "classify" in family.HEADS and "regress" in family.HEADS
        assert family.body(Run(dict(design_of(name_of(family)).spec.model), pad=256))


def name_of(family):
    return next(name for name in MODELS if MODELS[name]["name"] in family.MODELS)
