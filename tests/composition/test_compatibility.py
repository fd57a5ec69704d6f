"""Matching pairs of objective and architecture build; all others raise ConfigError."""

import dataclasses
from typing import Any

import jax
import pytest
import tiny_job
from ml_collections import ConfigDict

from pretrain_jax import registry
from pretrain_jax.composition import compatibility, config
from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.errors import ConfigError
from pretrain_jax.models import _base
from pretrain_jax.objectives import causal_lm

DECODERS = {"gpt", "gpt1", "llama", "gopher", "lamda", "t5_lm"}
WITH_PREFIX = {"gpt", "gpt1", "llama", "t5_lm"}
ENCODERS = {"bert", "roberta", "t5_encoder", "t5_1_1_encoder"}
ENCODER_DECODERS = {"t5", "t5_1_1", "transformer"}
ELECTRA = {"electra"}
TO_TEXT = ("prefix_lm", "span_corruption", "iid_denoising", "salient_spans", "text_to_text")
FITS = {
    ("causal_lm", ""): DECODERS,
    ("masked_lm", ""): ENCODERS,
    ("span_boundary", ""): ENCODERS,
    ("next_sentence", ""): {"bert"},  # RoBERTa has no segment types
    ("replaced_token", ""): ELECTRA,
    **{(name, "memory"): ENCODER_DECODERS for name in TO_TEXT},
    **{(name, "prefix"): WITH_PREFIX for name in TO_TEXT},
    **{(name, "stream"): DECODERS for name in TO_TEXT},
}
MODELS = sorted(DECODERS | ENCODERS | ENCODER_DECODERS | ELECTRA)
SIZES = {
    "vocab_size": "300",
    "layers": "2",
    "width": "16",
    "heads": "2",
    "head_width": "8",
    "feed_forward": "32",
    "max_length": "32",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(tiny_job.write(tmp_path_factory.mktemp("match")))


def design(path: str, objective: str, inputs: str, model: str, more: Any = ()) -> Design:
    options = registry.options(registry.load("models", model, "").build)
    changes = [("objective.name", objective), ("model.name", model), ("data.seq_len", "32")]
    changes += [(f"model.{key}", value) for key, value in SIZES.items() if key in options]
    if inputs:
        changes.append(("objective.inputs", inputs))
    if objective == "text_to_text":
        changes.append(("objective.targets_length", "8"))  # its 128 exceed these rows
    settings: ConfigDict = config.read(path, changes)
    with settings.unlocked():
        settings.update_from_flattened_dict(dict(more))
    return build_design(settings, tuple(jax.devices()[:1]))


def test_the_names_of_the_table_exist():
    assert {name for name, _ in FITS} <= set(registry.names("objectives"))
    assert set(MODELS) <= set(registry.names("models"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("objective, inputs", FITS)
def test_matching_pairs_build_and_others_are_refused(path, objective, inputs, model):
    built = design(path, objective, inputs, model)
    if model in FITS[objective, inputs]:
        _ = built.model
        return
    with pytest.raises(ConfigError, match="do not fit") as refused:
        _ = built.model
    message = str(refused.value)
    assert f"objective.name={objective}" in message
    assert f"model.name={model}" in message


@pytest.mark.parametrize(
    "objective, inputs, model, message",
    [
        ("span_corruption", "memory", "bert", "causal attention, the model has full"),
        ("span_corruption", "memory", "gpt", "memory_tokens, which the model does not read"),
        ("span_corruption", "memory", "gpt", "objective.inputs=prefix"),
        ("masked_lm", "", "gpt", "from its left context only"),
        ("causal_lm", "", "bert", "would see its own target"),
        ("causal_lm", "", "t5", "reads memory_tokens, which the objective does not write"),
        ("replaced_token", "", "bert", "trains ELECTRA's two, the model is one model"),
        ("next_sentence", "", "roberta", "types, which the model does not read"),
    ],
)
def test_a_refusal_names_what_does_not_fit(path, objective, inputs, model, message):
    with pytest.raises(ConfigError, match="do not fit") as refused:
        _ = design(path, objective, inputs, model).model
    assert message in str(refused.value)


def test_two_segment_types_need_two_rows(path):
    built = design(path, "next_sentence", "", "bert", {"model.types": 1})
    with pytest.raises(ConfigError, match=r"received model\.types=1"):
        _ = built.model


def test_members_of_a_mixture_have_their_own_options(path):
    mixture = (
        ("stdlib", {"name": "span_corruption", "rate": 0.5}, 1.0),
        ("stdlib", {"name": "prefix_lm", "rate": 0.25}, 2.0),
    )
    built = design(path, "span_corruption", "memory", "t5", {"data.mixture": mixture})
    assert [member.name for member in built.task.members] == ["span_corruption", "prefix_lm"]
    assert [member.rate for member in built.task.members] == [1.0, 2.0]
    parts = [member.objective.budgets(32) for member in built.task.members]
    assert built.task.budgets(32) == {axis: max(p[axis] for p in parts) for axis in ("L", "M")}


@pytest.mark.parametrize(
    "mixture, message",
    [
        ((("stdlib", "causal_lm", 1.0),), "differs from objective.name=span_corruption in"),
        ((("stdlib", {"name": "prefix_lm", "rat": 0.5}, 1.0),), "did you mean rate"),
        ((("stdlib", {"name": "prefix"}, 1.0),), "did you mean prefix_lm"),
        ((("stdlib", "span_corruption", -1.0),), "positive rates"),
        ((("stdlib", 3, 1.0),), "an objective is a name"),
        ((1,), "positive rates"),
        (((1, "prefix_lm", 1.0),), "positive rates"),
        ((("stdlib", {"name": "prefix_lm", "rate": "0.5"}, 1.0),), "must be of type float"),
    ],
)
def test_a_wrong_mixture_is_refused(path, mixture, message):
    built = design(path, "span_corruption", "memory", "t5", {"data.mixture": mixture})
    with pytest.raises(ConfigError) as refused:
        _ = built.task.members
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "objective, changes, message",
    [
        ("span_corruption", {"data.cross_documents": True}, "makes each row one continuous text"),
        ("next_sentence", {"data.cross_documents": True}, "makes each row one continuous text"),
        ("span_corruption", {"data.target_key": "answer"}, "this run has none"),
        ("masked_lm", {"data.spans_key": "spans"}, "this run has none"),
        ("span_corruption", {"eval.pseudo_tokens": 5}, "is for encoders"),
        ("masked_lm", {"data.seq_len": 2}, "make it 3 or more"),
        ("next_sentence", {"data.seq_len": 4}, "make it 5 or more"),
        ("span_corruption", {"data.seq_len": 2}, "make it longer"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_reading_data(path, objective, changes, message):
    inputs, model = ("memory", "t5") if objective == "span_corruption" else ("", "bert")
    built = design(path, objective, inputs, model, changes)
    with pytest.raises(ConfigError, match=message):
        built.check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, r"objectives/mine\.py must return an Objective; received None"),
        ({"fields": ("tokns",)}, r"entry of fields in objectives/mine\.py.*did you mean tokens"),
        ({"special_tokens": ("nope",)}, "every entry of special_tokens"),
        ({"baselines": ("nope",)}, "every entry of baselines"),
        ({"attention": "sideways"}, "attention in objectives"),
        ({"baseline": ()}, r"objectives/mine\.py .* unexpected keyword argument 'baseline'"),
    ],
)
def test_an_objective_with_a_mistake_is_refused_by_name(changes, message):
    def build():
        return None if changes is None else dataclasses.replace(causal_lm.build(), **changes)

    with pytest.raises(ConfigError, match=message):
        compatibility.build_objective("mine", build, {}, _base.load("gpt"))
