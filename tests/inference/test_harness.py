"""lm-evaluation-harness asks our models, and says what our own tasks say."""

import json
from typing import Any

import jax
import numpy as np
import pytest
from lm_eval import evaluator
from lm_eval.tasks import TaskManager

from pretrain_jax import evaluate
from pretrain_jax.errors import ConfigError
from pretrain_jax.evaluation.evaluate_tasks import evaluate as ask_tasks
from pretrain_jax.evaluation.lm_eval_model import HarnessModel

PAIRS = [("the cat sat", "cat the tas"), ("dogs run over", "sgod nur revo"), ("a mat", "mat a")]
YAML = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
"""
TASKS = {
    "pairs": """output_type: multiple_choice
doc_to_text: ""
doc_to_choice: "{{[sentence_good, sentence_bad]}}"
doc_to_target: 0
target_delimiter: ""
metric_list: [{metric: acc}]
""",
    "words": """output_type: loglikelihood
doc_to_text: "the cat"
doc_to_target: " sat"
metric_list: [{metric: acc}]
""",
    "texts": """output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{sentence_good}} {{sentence_good}} {{sentence_good}} {{sentence_good}}"
metric_list: [{metric: bits_per_byte}]
""",
    "answers": """output_type: generate_until
doc_to_text: "the cat"
doc_to_target: " sat"
generation_kwargs: {until: [" "], max_gen_toks: 5}
metric_list: [{metric: exact_match}]
""",
}


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tasks of the harness, and their data, pairs.jsonl."""
    folder = tmp_path_factory.mktemp("tasks")
    file = folder / "pairs.jsonl"
    file.write_text("".join(
        json.dumps({"sentence_good": a, "sentence_bad": b}) + "\n" for a, b in PAIRS
    ))  # fmt: skip
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(YAML.format(name=name, file=file) + text)
    return folder


def ask(run, folder, names) -> Any:
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    how: Any = {"tasks": names, "task_manager": manager, "bootstrap_iters": 0}
    return evaluator.simple_evaluate(HarnessModel(str(run)), **how)


@pytest.mark.parametrize("family", ["gpt", "bert", "t5"])
def test_the_harness_and_our_task_give_the_same_likelihoods(workdir, folder, family):
    run = workdir(family)
    harness = ask(run, folder, ["pairs"])
    theirs = [[x[0][0] for x in sample["resps"]] for sample in harness["samples"]["pairs"]]
    data = {"blimp": folder / "pairs.jsonl"}
    (ours,) = ask_tasks(str(run), data, stored=False).results
    for report, log_p in zip(ours.reports, theirs, strict=True):
        assert report["nats"] == pytest.approx([-x for x in log_p], abs=1e-3)
    assert harness["results"]["pairs"]["acc,none"] == ours.metrics["accuracy"].value


def test_the_harness_scores_words_and_texts_and_makes_answers(workdir, load, folder):
    made = ask(workdir("gpt"), folder, ["words", "texts", "answers"])
    model = load("gpt")
    (score,) = model.score([" sat"], given=["the cat"])
    ((nats, greedy),) = made["samples"]["words"][0]["resps"][0]
    assert isinstance(greedy, bool)
    # The harness puts no begin token before a context.
    ids = model.tokenizer.encode("the cat sat")
    rows = np.asarray(jax.nn.log_softmax(model.logits([ids[:-1]])[0]))[-4:]
    assert nats == pytest.approx(rows[np.arange(4), ids[-4:]].sum(), abs=1e-3)
    assert nats != pytest.approx(-score.nats, abs=1e-4)
    text = " ".join([PAIRS[2][0]] * 4)
    (total,) = made["samples"]["texts"][2]["resps"][0]
    assert total == pytest.approx(-model.score([text])[0].nats, abs=1e-2)
    assert len(made["samples"]["answers"][0]["resps"][0][0]) <= 5


def test_the_command_line_of_the_harness(workdir, folder, capsys):
    words = ["--lm_eval", "--model_args", f"workdir={workdir('gpt')}", "--tasks", "pairs"]
    assert evaluate.main([*words, "--include_path", str(folder)]) == 0
    assert "|pairs" in capsys.readouterr().out
    assert evaluate.main(["--lm_eval", "--no_such_option", "1"]) == 64
    with pytest.raises(ConfigError, match=r"needs known tasks.*no_such_task"):
        evaluate.main([*words[:-1], "no_such_task"])


def test_the_adapter_refuses_what_it_cannot_do(workdir):
    with pytest.raises(ConfigError, match="must name a run"):
        HarnessModel()
    with pytest.raises(ConfigError, match="must be a number of rows; received auto"):
        HarnessModel(workdir=str(workdir("gpt")), batch_size="auto")
