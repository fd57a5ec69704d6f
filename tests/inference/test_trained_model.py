"""A trained model from Python, for every family."""

import math
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from tiny_families import FAMILIES

import pretrain_jax
from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.inference import sampling_loop

DECODERS, ENCODERS, BOTH = ("gpt", "prefix"), ("bert", "electra"), ("t5", "shared")


def log_softmax(logits):
    return np.asarray(jax.nn.log_softmax(logits))


# --- generation -----------------------------------------------------------------------------------


def test_greedy_takes_the_likeliest_token_each_time(load):
    model = load("gpt")
    (made,) = model.generate(["the cat"], 12, temperature=0.0)
    ids = model.read("the cat", special=True)["tokens"].tolist()
    for token, log_p in zip(made.tokens, made.log_probabilities, strict=True):
        row = log_softmax(model.logits([ids])[0, -1])
        assert token == row[: model.tokenizer.size].argmax()
        assert log_p == pytest.approx(row[token], abs=1e-4)
        ids.append(int(token))
    assert made.reason == "tokens" and len(made.tokens) == 12


@pytest.mark.parametrize("family", [*DECODERS, *BOTH])
def test_a_batch_makes_what_each_prompt_makes_alone(load, family):
    """Draws depend on the prompt's number, not on the batch."""
    model, prompts = load(family), ["the cat sat", "a", "dogs <extra_id_0> over green hills"]
    how: Any = {"tokens": 9, "temperature": 0.9, "top_k": 20, "top_p": 0.9, "seed": 3}
    together = model.generate(prompts, **how)
    in_twos = model.generate(prompts, batch_size=2, **how)
    assert [c.text for c in together] == [c.text for c in in_twos]
    *_, streamed = model.stream(prompts[2], sample=2, **how)
    assert streamed.text == together[2].text
    assert model.generate(prompts, **how | {"seed": 4}) != together


def test_a_continuation_ends_and_says_why(load):
    model = load("gpt")
    text = "the cat sat on a mat"
    (made,) = model.generate([text], 100, temperature=0.0)
    assert made.reason in ("context", "end token")
    if made.reason == "context":
        assert len(model.read(text, True)["tokens"]) + len(made.tokens) == 32
    word = made.text[2:4]
    (stopped,) = model.generate([text], 100, temperature=0.0, stop=[word])
    assert stopped.reason == "stop" and stopped.text == made.text[: made.text.index(word)]


def test_a_stream_shows_nothing_of_a_stop(load):
    model = load("gpt")
    (whole,) = model.generate(["the cat"], 20, seed=1)
    stop = whole.text[6:11]  # begins within the first 8 tokens, ends after them
    shown = [made.text for made in model.stream("the cat", 20, seed=1, stop=[stop])]
    end = whole.text.index(stop)
    assert len(shown) > 1 and shown[-1] == whole.text[:end]
    assert all(shown[-1].startswith(text) for text in shown)


def test_a_long_prompt_is_refused_or_cut_from_the_left(load):
    model, long = load("gpt"), "the cat sat on a mat and saw dogs run over green hills"
    with pytest.raises(ConfigError, match="32 positions; received 55 tokens"):
        model.generate([long], 4)
    (made,) = model.generate([long], 4, temperature=0.0, cut=True)
    (same,) = model.generate([long[-28:]], 4, temperature=0.0, cut=True)
    assert len(made.tokens) == 4 and made.text == same.text


def test_one_beam_is_greedy_and_more_are_at_least_as_likely(load):
    for family in ("gpt", "t5"):
        model = load(family)
        (greedy,) = model.generate(["the cat <extra_id_0>"], 8, temperature=0.0)
        (best,) = model.generate(["the cat <extra_id_0>"], 8, beams=6, length_penalty=0.0)
        assert best.log_probabilities.sum() >= greedy.log_probabilities.sum() - 1e-4
        again, *_ = model.generate(["the cat <extra_id_0>"], 8, beams=6, length_penalty=0.0)
        assert again.text == best.text
    with pytest.raises(ConfigError, match="repetition_penalty must be above 0"):
        load("gpt").generate(["a"], beams=2, repetition_penalty=0.0)
    with pytest.raises(ConfigError, match="draws nothing at random"):
        load("gpt").generate(["a"], beams=2, temperature=0.5)


def test_a_second_prompt_compiles_nothing_new(load):
    model = load("gpt")
    programs: list[Any] = [sampling_loop.begin, sampling_loop.advance]
    model.generate(["the cat"], 5)
    before = [program._cache_size() for program in programs]
    model.generate(["dogs run over"], 7, temperature=0.3)
    assert [program._cache_size() for program in programs] == before


# --- scores ---------------------------------------------------------------------------------------


def test_a_decoders_score_is_the_sum_of_its_log_probabilities(load):
    model, text = load("gpt"), "the cat sat on"
    short, score = model.score(["a", text])
    ids = model.read(text, special=True)["tokens"]
    log_p = log_softmax(model.logits([ids])[0])[np.arange(len(ids) - 1), ids[1:]]
    assert score.nats == pytest.approx(-log_p.sum(), abs=1e-3)
    assert score.tokens == score.bytes == len(text) and short.tokens == 1
    assert score.bits_per_byte == pytest.approx(score.nats / len(text) / math.log(2))
    (rest,) = model.score([" sat on"], given=["the cat"])
    assert rest.nats == pytest.approx(-log_p[7:].sum(), abs=1e-3)


@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoders_score_masks_each_token_alone(load, family):
    model, text = load(family), "the cat sat on a"
    (score,) = model.score([text])
    row = model.read(text, special=True)["tokens"]
    for place in (0, 9, len(text) - 1):
        masked = np.where(np.arange(len(row)) == place + 1, model.tokenizer.mask, row)
        log_p = log_softmax(model.logits([masked])[0, place + 1])[row[place + 1]]
        assert score.log_probabilities[place] == pytest.approx(log_p, abs=1e-4)
    assert score.nats == pytest.approx(-score.log_probabilities.sum(), rel=1e-5)


@pytest.mark.parametrize("family", BOTH)
def test_an_encoder_decoder_scores_a_text_given_another(load, family):
    model, given, text = load(family), "the <extra_id_0> sat", "cat"
    (score,) = model.score([text], given=[given])
    row, ids = model.read(given, special=True), model.tokenizer.encode(text)
    logits = model.logits([[*row["tokens"], *ids[:-1]]], memory=[row["memory_tokens"]])[0]
    assert score.nats == pytest.approx(-log_softmax(logits)[np.arange(3), ids].sum(), abs=1e-3)
    with pytest.raises(ConfigError, match="Pass given="):
        model.score([text], likelihood="conditional")


def test_a_spelling_in_a_scored_text_is_its_token(load):
    model, text = load("t5"), "<extra_id_0>cat<extra_id_1>"
    sentinels, spelled = (
        model.score([text], given=["the <extra_id_0> sat"], special=special)[0]
        for special in (True, False)
    )
    assert (sentinels.tokens, spelled.tokens) == (3, len(text))
    assert len(sentinels.log_probabilities) == 5
    assert load("bert").score(["a<mask>"])[0].tokens == 1


# --- blanks, vectors, spellings -------------------------------------------------------------------


@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_fills_each_mask(load, family):
    model = load(family)
    blanks = model.fill("the c<mask>t s<mask>t", top=3)
    row = model.read("the c<mask>t s<mask>t", special=True)["tokens"]
    for blank, place in zip(blanks, np.flatnonzero(row == model.tokenizer.mask), strict=True):
        log_p = log_softmax(model.logits([row])[0, place])[: model.tokenizer.size]
        want = np.sort(log_p)[::-1][:3]
        np.testing.assert_allclose([f.log_probability for f in blank], want, atol=1e-4)
        assert model.tokenizer.encode(blank[0].text).tolist() == [log_p.argmax()]
    with pytest.raises(ConfigError, match="a blank, such as <mask>"):
        model.fill("no blank")
    with pytest.raises(ConfigError, match="which fills masks"):
        model.generate(["a"])


def test_an_encoder_decoder_fills_sentinels(load):
    model = load("t5")
    blanks = model.fill("the <extra_id_0> sat <extra_id_1> mat", top=2, tokens=12)
    assert len(blanks) == 2 and all(len(blank) == 2 for blank in blanks)
    assert blanks[0][0].log_probability == blanks[1][0].log_probability
    assert model.fill("the <mask> sat <mask> mat", top=2, tokens=12) == blanks
    with pytest.raises(ConfigError, match="all <mask> or all <extra_id_0>"):
        model.fill("the <extra_id_0> sat <mask>")
    with pytest.raises(ConfigError, match="trained to fill sentinels"):
        load("gpt").fill("the <mask>")


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_ignore_padding_and_come_from_the_chosen_layer(load, family):
    model, texts = load(family), ["the cat sat", "a"]
    for pooling in ("mean", "first", "last"):
        vectors = model.embed(texts, pooling=pooling)
        assert vectors.shape == (2, 16) and vectors.dtype == np.float32
        np.testing.assert_allclose(vectors[1], model.embed(["a"], pooling=pooling)[0], atol=1e-5)
    layers = [model.embed(texts, layer=layer) for layer in (0, 1, -1)]
    assert not np.allclose(layers[0], layers[1]) and not np.allclose(layers[0], layers[2])
    with pytest.raises(ConfigError, match=r"layer must be 0 \.\. 1"):
        model.embed(texts, layer=5)


def test_spellings_are_special_ids_unless_they_are_text(load):
    model = load("t5")
    special = model.read("a<extra_id_1>", special=True)["memory_tokens"]
    assert special.tolist() == [97, model.tokenizer.sentinels[1], model.tokenizer.eos]
    text = model.read("a<extra_id_1>", special=False)["memory_tokens"]
    assert text.tolist() == [*b"a<extra_id_1>", model.tokenizer.eos]


def test_an_answer_spells_its_sentinels(load):
    model = load("t5")
    ids = np.array([model.tokenizer.sentinels[0], 97, 98, model.tokenizer.sentinels[1]])
    start = np.zeros(0, np.int32)
    assert model.generator.text_after(start, ids) == "<extra_id_0>ab<extra_id_1>"


@pytest.mark.parametrize(
    "call, received",
    [
        (lambda model: model.generate("the cat"), "prompts must be .* received str"),
        (lambda model: model.generate([b"the cat"]), "received list of bytes"),
        (lambda model: next(model.stream(["a", "b"])), "lists of messages .* received .a"),
        (lambda model: model.score("the cat"), "texts must be .* received str"),
        (lambda model: model.score(["the"], given="a"), "given must be .* received str"),
        (lambda model: model.embed("the cat"), "texts must be .* received str"),
        (lambda model: model.logits([[5, 264]]), r"0 \.\. 263, .* received 5 \.\. 264"),
        (lambda model: model.generate(["a\ud800"]), "character 1 of .* half of a surrogate pair"),
        (lambda model: model.generate(["a"], 0), "tokens must be an integer .* received 0"),
        (lambda model: model.generate(["a"], seed=-1), "seed must be an integer"),
        (lambda model: model.generate(["a"], batch_size=0), "batch_size must be an integer"),
        (lambda model: model.generate(["a"], stop="x"), "stop must be str in a list"),
        (lambda model: model.generate(["a"], stop=[""]), "stop must have texts"),
        (lambda model: model.fill("<mask>", top=0), "top must be an integer"),
        (lambda model: model.logits([[-1]]), r"received -1 \.\. -1"),
    ],
)
def test_what_is_no_list_of_texts_or_ids_is_refused(load, call, received):
    with pytest.raises(ConfigError, match=received):
        call(load("gpt"))


def test_a_model_prints_as_one_short_line(load):
    assert repr(load("gpt")) == "<TrainedModel: gpt trained with causal_lm, step 30>"


# --- loading --------------------------------------------------------------------------------------


def test_a_step_a_dtype_and_a_mesh_can_be_chosen(workdir):
    folder = workdir("gpt")
    last, early = pretrain_jax.load(folder), pretrain_jax.load(folder, step=20)
    assert (last.step, early.step) == (30, 20)
    by_path = pretrain_jax.load(folder / "checkpoints" / "20")
    want = early.logits([[1, 2, 3]])
    np.testing.assert_array_equal(by_path.logits([[1, 2, 3]]), want)
    assert not np.allclose(last.logits([[1, 2, 3]]), want)
    low = pretrain_jax.load(folder, step=20, dtype="bfloat16").logits([[1, 2, 3]])
    assert 0 < np.abs(low[..., :262] - want[..., :262]).max() < 0.1
    with pytest.raises(InputMissing, match="no committed step 7"):
        pretrain_jax.load(folder, step=7)
    with pytest.raises(ConfigError, match="dtype must be one of"):
        pretrain_jax.load(folder, dtype="int8")


@pytest.mark.parametrize("family", ["gpt", "t5"])
def test_a_mesh_makes_the_same_texts(load, workdir, family):
    if len(jax.devices()) < 4:
        pytest.skip("needs 4 devices")
    mesh = {"data": -1, "tensor": 2}
    split, whole = pretrain_jax.load(workdir(family), mesh=mesh), load(family)
    prompts = ["the cat <extra_id_0>", "a", "dogs run"]
    for beams in (1, 3):
        a, b = (m.generate(prompts, 8, temperature=0.0, beams=beams) for m in (split, whole))
        assert [c.text for c in a] == [c.text for c in b]
    np.testing.assert_allclose(split.embed(prompts), whole.embed(prompts), atol=1e-5)


def test_the_import_loads_nothing_heavy():
    code = "import sys, pretrain_jax; print({'jax', 'numpy'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_training_writes_samples(workdir, family):
    """After >>> a continuation, or the targets of an example with the true ones below them."""
    text = (workdir(family) / "samples.txt").read_text()
    assert text.count("==== step") == 1 and ">>>" in text
    assert ("\ntrue: " in text) == (family != "gpt")
