"""The likelihoods of every family, against the model's own logits of the rows it should read."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax import evaluate
from pretrain_jax.errors import ConfigError, DataError, InputMissing, NonFinite
from pretrain_jax.evaluation.task_model import TaskModel, divide
from pretrain_jax.inference.likelihood import encode_pair

CONTEXT, TEXT = "the cat sat", " on a mat"


def log_p(logits):
    return np.asarray(jax.nn.log_softmax(logits))


def words_of(text):
    """(first, last) of each word of the bytes of a text; a word begins with its space."""
    starts = [0, *(i for i in range(1, len(text)) if text[i] == " ")]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


@pytest.mark.parametrize("family", ["gpt", "prefix"])
def test_a_decoder_reads_the_context_first(load, family):
    model = load(family)
    (score,) = model.score([TEXT], given=[CONTEXT])
    ids = [*model.read(CONTEXT, True)["tokens"], *model.tokenizer.encode(TEXT)]
    if family == "gpt":
        rows = log_p(model.logits([ids[:-1]])[0])[-len(TEXT) :]
        expected = rows[np.arange(len(TEXT)), ids[-len(TEXT) :]]
        assert score.log_probabilities == pytest.approx(expected, abs=1e-4)
        likeliest = rows[:, : model.tokenizer.size].argmax(-1) == ids[-len(TEXT) :]
        assert score.is_likeliest == likeliest.all()
    assert score.tokens == len(TEXT) and not score.is_likeliest


def test_what_greedy_decoding_makes_is_likeliest(load):
    model = load("gpt")
    (made,) = model.generate([CONTEXT], 6, temperature=0.0)
    score, other = model.score([made.text, made.text[:-1] + "\x01"], given=[CONTEXT] * 2)
    assert score.is_likeliest and not other.is_likeliest
    assert score.nats == pytest.approx(-made.log_probabilities.sum(), abs=1e-3)


@pytest.mark.parametrize("family", ["bert", "electra"])
@pytest.mark.parametrize("likelihood", ["masked", "masked_words"])
def test_an_encoder_masks_a_token_or_the_rest_of_its_word(load, family, likelihood):
    model = load(family)
    (score,) = model.score([TEXT], given=[CONTEXT], likelihood=likelihood)
    row = model.read(CONTEXT + TEXT, True)["tokens"]
    ends = {i: last for first, last in words_of(TEXT) for i in range(first, last)}
    for i, found in enumerate(score.log_probabilities):
        masked, at = row.copy(), 1 + len(CONTEXT) + i
        end = 1 + len(CONTEXT) + (ends[i] if likelihood == "masked_words" else i + 1)
        masked[at:end] = model.tokenizer.mask
        assert found == pytest.approx(log_p(model.logits([masked])[0, at])[row[at]], abs=1e-4)


@pytest.mark.parametrize("family", ["t5", "shared"])
def test_an_encoder_decoder_fills_one_word_at_a_time(load, family):
    model = load(family)
    (score,) = model.score([TEXT], given=[CONTEXT], likelihood="sentinel")
    ids, sentinel = model.tokenizer.encode(TEXT), model.tokenizer.sentinels[0]
    before = model.tokenizer.encode(CONTEXT)
    for first, last in words_of(TEXT):
        read = [*before, *ids[:first], sentinel, *ids[last:], model.tokenizer.eos]
        wrote = [model.tokenizer.pad, sentinel, *ids[first:last]]
        rows = log_p(model.logits([wrote[:-1]], memory=[read])[0])[1:]
        expected = rows[np.arange(last - first), ids[first:last]]
        assert score.log_probabilities[first:last] == pytest.approx(expected, abs=1e-4)
    assert model.likelihoods == ("sentinel", "conditional")


def test_each_family_names_its_likelihoods(load):
    assert load("gpt").likelihoods == ("causal",)
    assert load("bert").likelihoods == ("masked", "masked_words")
    with pytest.raises(ConfigError, match=r"likelihood of a gpt .* must be one of causal"):
        load("gpt").score(["a"], likelihood="masked")


def test_a_long_context_loses_its_beginning_and_a_long_text_is_refused(load):
    for family in ("gpt", "bert"):
        model = load(family)
        end = "and the cat sat on a small, old"
        score, same = model.score([" mat"] * 2, given=["y" * 90 + end, "x" * 9 + end])
        assert score.nats == pytest.approx(same.nats, abs=1e-4)
        with pytest.raises(ConfigError, match="at most 32 tokens"):
            model.score(["z" * 40])


def test_white_space_at_the_end_of_a_context_belongs_to_the_text(load):
    tokenizer = load("gpt").tokenizer
    before, text = encode_pair("The cat ", "sat", tokenizer, special=False)
    assert (tokenizer.decode(before), tokenizer.decode(text)) == ("The cat", " sat")
    before, text = encode_pair("", "sat", tokenizer, special=False)
    assert len(before) == 0 and tokenizer.decode(text) == "sat"


def test_batches_do_not_change_a_score(load):
    texts = [f"{'the cat ' * n}sat" for n in range(4)]
    for family in ("gpt", "bert", "t5"):
        model = load(family)
        alone = [model.score([text], batch_size=1)[0].nats for text in texts]
        assert [x.nats for x in model.score(texts, batch_size=3)] == pytest.approx(alone, abs=1e-3)


# --- as tasks ask ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count, window", [(1, 4), (4, 4), (9, 4), (20, 7), (5, 1)])
def test_windows_score_every_token_once_after_at_least_half_a_window(count, window):
    parts = divide(np.arange(count), window)
    assert np.concatenate([text for _, text in parts]).tolist() == list(range(count))
    for before, text in parts:
        assert len(before) + len(text) <= window
        both = np.concatenate([before, text])
        assert np.array_equal(both, np.arange(both[0], text[-1] + 1))
        assert text[0] == 0 or len(before) >= window // 2 or window == 1


def test_the_likelihood_of_a_long_text_is_that_of_its_windows(load):
    for family in ("gpt", "bert", "t5"):
        model = load(family)
        asked = TaskModel(model, model.likelihoods[0], batch_size=4)
        short, long = "the cat sat", "the cat sat on a mat and saw dogs " * 4
        (a, b) = asked.text_likelihoods([short, long])
        assert a.nats == pytest.approx(model.score([short])[0].nats, abs=1e-3)
        assert b.tokens == len(long) and 0 < b.nats < 6 * len(long)


def test_a_text_that_does_not_fit_is_an_error_of_the_data(load):
    asked = TaskModel(load("gpt"), "causal")
    with pytest.raises(DataError, match=r"at most 32 tokens.*The longest text here is 'zzz"):
        asked.likelihoods([("a", "z" * 40)])


def test_the_command_stores_and_compares_results(workdir, tmp_path, capsys):
    data = tmp_path / "blimp.jsonl"
    pairs = [("the cat sat", "cat the tas"), ("dogs run over", "sgod nur revo")] * 4
    data.write_text("".join(
        json.dumps({"sentence_good": good, "sentence_bad": bad}) + "\n" for good, bad in pairs
    ))  # fmt: skip
    for family in ("gpt", "bert", "t5"):
        run = workdir(family)
        common = [f"--workdir={run}", "--tasks=blimp", f"--data={data}"]
        assert evaluate.main([*common, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)["blimp"]
        assert printed["items"] == 8 and printed["chance"] == 0.5
        assert 0 <= printed["low"] <= printed["accuracy"] <= printed["high"] <= 1
        assert {"unigram", "bigram", "5-gram"} < printed.keys()
        folder = run / "tasks" / "30"
        stored = json.loads((folder / "blimp.json").read_text())
        assert stored["metrics"]["accuracy"]["value"] == printed["accuracy"]
        reports = [json.loads(line) for line in (folder / "blimp.jsonl").read_text().splitlines()]
        model = TaskModel(*self_and_default(run))
        nats = [x.nats for x in model.likelihoods([("", text) for pair in pairs for text in pair])]
        assert [n for r in reports for n in r["nats"]] == pytest.approx(nats, abs=1e-3)
        assert "| blimp | accuracy |" in (folder / "results.md").read_text()
        harness = json.loads((folder / "lm_eval.json").read_text())["results"]["blimp"]
        assert harness["acc,none"] == printed["accuracy"]
    assert evaluate.main([*common, "--yardsticks=none", f"--compare={workdir('gpt')}"]) == 0
    assert "difference to" in capsys.readouterr().out


def test_the_options_of_the_command_reach_the_task(workdir, tmp_path, capsys):
    t5, gpt = workdir("t5"), workdir("gpt")
    words = [f"--workdir={t5}", "--tasks=membership", "--yardsticks=none", "--json"]
    assert evaluate.main([*words, "--step=20", "--batch_size=4"]) == 0
    assert json.loads(capsys.readouterr().out)["membership"]["auc_reference"] is None
    assert evaluate.main([*words, f"--reference={workdir('shared')}"]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["membership"]["auc_reference"] <= 1
    assert (t5 / "tasks" / "20" / "membership.json").exists()
    options = ["--shots=1", "--seed=5", "--limit=2"]
    assert evaluate.main([f"--workdir={gpt}", "--tasks=patterns", *options]) == 0
    made = json.loads((gpt / "tasks" / "30" / "patterns_1_shots_2_each.json").read_text())
    assert made["items"] == 12 and (made["settings"]["shots"], made["settings"]["seed"]) == (1, 5)
    source = json.loads((gpt / "config.json").read_text())["data"]["source"]
    lines = Path(source.removeprefix("text:")).read_text().splitlines()
    texts = (json.loads(line)["text"] for line in lines)
    known = [" ".join(text.split()[:14]) for text in texts if len(text.split()) > 20]
    items = [{"sentence_good": good, "sentence_bad": "a"} for good in [*known[:3], "x " * 14]]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    t5_words = [f"--workdir={t5}", "--tasks=blimp", f"--data={data}", "--yardsticks=none"]
    assert evaluate.main([*t5_words, "--contamination"]) == 0
    found = json.loads((t5 / "tasks" / "30" / "blimp_pairs.json").read_text())["settings"]
    assert found["contamination"]["items"] == 4
    assert 0.25 <= found["contamination"]["share"] <= 0.75  # held-out documents do not count


def test_models_are_compared_before_anything_is_asked(workdir, tmp_path, capsys):
    """Other shots, another limit, another training text: nothing of ours is stored."""
    gpt, bert = workdir("gpt"), workdir("bert")
    data = tmp_path / "mine.jsonl"
    pairs = [{"sentence_good": f"a{i}", "sentence_bad": f"b{i}"} for i in range(3)]
    data.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    common = ["--yardsticks=none", "--tasks=blimp", f"--data={data}"]
    with pytest.raises(InputMissing, match="needs stored results named blimp_mine"):
        evaluate.main([f"--workdir={gpt}", *common, f"--compare={bert}"])
    assert evaluate.main([f"--workdir={bert}", *common, "--seed=1"]) == 0
    with pytest.raises(DataError, match=r"same items and prompts; seed of .*blimp_mine\.json"):
        evaluate.main([f"--workdir={gpt}", *common, f"--compare={bert}"])
    assert not (gpt / "tasks" / "30" / "blimp_mine.json").exists()
    (bert / "tasks" / "30" / "other.json").write_text('{"task": "other", "metrics": 3}')
    assert evaluate.main([f"--workdir={bert}", *common]) == 0
    reports = bert / "tasks" / "30" / "blimp_mine.jsonl"
    for damage in (b'{"number": 0}\n', b"\xff\n", b"{\n"):
        reports.write_bytes(damage)
        with pytest.raises(DataError, match=r"blimp_mine\.jsonl"):
            evaluate.main([f"--workdir={gpt}", *common, f"--compare={bert}"])
    (bert / "tasks" / "30" / "other.json").unlink()
    capsys.readouterr()


def test_membership_is_limited_on_each_side(workdir, capsys):
    words = [f"--workdir={workdir('t5')}", "--tasks=membership", "--limit=3", "--json"]
    assert evaluate.main([*words, "--yardsticks=none"]) == 0
    found = json.loads(capsys.readouterr().out)["membership_3_each"]
    assert found["items"] == 6 and found["low"] <= found["auc_loss"] <= found["high"]


@pytest.mark.parametrize("family", ["gpt", "bert", "t5"])
def test_numbers_that_are_not_finite_are_no_answer(load, family):
    model = load(family)
    params = jax.tree.map(lambda x: x * jnp.nan, model.generator.params)
    generator = dataclasses.replace(model.generator, params=params)
    broken = dataclasses.replace(model, generator=generator)
    with pytest.raises(NonFinite, match="parameters of a model must be finite"):
        TaskModel.of(broken)
    asked = TaskModel(broken, model.likelihoods[0])
    with pytest.raises(NonFinite, match="log-likelihoods of a model must be finite"):
        asked.likelihoods([("", "the cat")])
    with pytest.raises(NonFinite, match="vectors of a model must be finite"):
        asked.embed(["the cat"], -1)


def self_and_default(run):
    import pretrain_jax

    model = pretrain_jax.load(run)
    return model, model.likelihoods[0]


def test_the_command_refuses_what_it_cannot_do(workdir, tmp_path):
    run = workdir("bert")
    with pytest.raises(ConfigError, match="patterns needs a model that generates"):
        evaluate.main([f"--workdir={run}", "--tasks=patterns"])
    with pytest.raises(ConfigError, match="--data must name the data of these tasks: blimp"):
        evaluate.main([f"--workdir={run}", "--tasks=blimp"])
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ConfigError, match="is a Hugging Face model"):
        evaluate.main([f"--workdir={tmp_path / 'hf'}", "--tasks=patterns"])
    with pytest.raises(ConfigError, match="needs --workdir=RUN, or --model"):
        evaluate.main(["--tasks=blimp"])
    with pytest.raises(ConfigError, match="must be one of masked, masked_words"):
        data = tmp_path / "x.jsonl"
        data.write_text('{"sentence_good": "a", "sentence_bad": "b"}\n')
        evaluate.main(
            [f"--workdir={run}", "--tasks=blimp", f"--data={data}", "--likelihood=causal"]
        )
