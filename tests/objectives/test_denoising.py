"""Prefix LM, span corruption, i.i.d. denoising and salient spans, in all their forms."""

import itertools
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import objective_toys as toys
import pytest
from sequences import apart, together

from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.data import pack
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.embeddings import Readout
from pretrain_jax.objectives import (
    iid_denoising,
    prefix_lm,
    salient_spans,
    span_corruption,
)
from pretrain_jax.objectives._layout import LAYOUTS, pick_layout
from pretrain_jax.objectives._spans import exact_spans, span_fields
from pretrain_jax.ragged import Ragged
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.tokenizers.bytes import Bytes

VOCAB = Bytes(100)
LENGTHS = (1, 2, 3, 4, 5, 9, 17, 64, 568)
KINDS = {
    "span": (span_corruption, {}),
    "long spans": (span_corruption, {"rate": 0.5, "mean_span": 8.0, "mode": 2}),
    "anywhere": (span_corruption, {"place": "random"}),
    "mostly noise": (span_corruption, {"rate": 0.9, "mean_span": 1.0}),
    "all": (iid_denoising, {}),
    "spans": (iid_denoising, {"targets": "spans"}),
    "tokens": (iid_denoising, {"targets": "tokens"}),
    "salient": (salient_spans, {}),
    "prefix lm": (prefix_lm, {}),
    "quarter": (prefix_lm, {"rate": 0.25, "mode": 3}),
    "fixed": (prefix_lm, {"rate": 0.3, "split": "fixed"}),
}
SENTINELS = ("span", "anywhere", "long spans", "mostly noise", "salient")
VARIANTS = [(kind, inputs) for kind in KINDS for inputs in LAYOUTS]
every_variant = pytest.mark.parametrize("kind, inputs", VARIANTS)


def build(kind, inputs="memory"):
    module, options = KINDS[kind]
    return module.build(inputs=inputs, **options)


def raw(n, seed=0):
    text = np.random.default_rng(seed).integers(97, 123, size=n).astype(np.int32)
    text.flags.writeable = False
    return {"tokens": text}


def corrupt(how, example, rng, vocab=VOCAB):
    return toys.corrupt(how, example, rng, vocab)


def lengths_of(kind, inputs):
    """A text in one stream of prefix LM has two tokens or more: chunks share one."""
    shortest = 2 if KINDS[kind][0] is prefix_lm and inputs != "memory" else 1
    return [n for n in LENGTHS if n >= shortest]


def sides(fields):
    """Inputs and targets of an example, whatever its form."""
    if "memory_tokens" in fields:
        return fields["memory_tokens"], fields["targets"]
    stream = np.append(fields["tokens"], fields["targets"][-1])
    return stream[: fields["predict_at"][0] + 1], fields["targets"]


def restored(inputs, targets):
    """The text that sentinels were put into: each one's span in its place."""
    spans, found = {}, []
    for token in targets[:-1].tolist():
        if VOCAB.special[token]:
            spans[token] = []
            last = token
        else:
            spans[last].append(token)
    assert list(spans) == list(VOCAB.sentinels[: len(spans)])
    for token in inputs[:-1].tolist():
        found += spans.pop(token) if token in spans else [token]
    assert not spans
    return found


def runs_of(tokens):
    """(whether a sentinel comes first, the runs of text between sentinels), the end left out."""
    runs, last = [], True
    for token in tokens[:-1].tolist():
        if not VOCAB.special[token]:
            runs = [*runs[:-1], [*runs[-1], token]] if not last else [*runs, [token]]
        last = VOCAB.special[token]
    return bool(VOCAB.special[tokens[0]]), runs


def alternated(inputs, targets):
    """The text whose runs of noise are in the targets and whose other runs are in the inputs."""
    (noise_first, kept), (kept_first, lost) = runs_of(inputs), runs_of(targets)
    assert noise_first != kept_first or len(inputs) == 1
    pairs = itertools.zip_longest(*((lost, kept) if noise_first else (kept, lost)), fillvalue=[])
    for side in (inputs, targets):
        own = [token for token in side[:-1].tolist() if VOCAB.special[token]]
        assert own == list(VOCAB.sentinels[: len(own)])
    return [token for pair in pairs for run in pair for token in run]


@every_variant
def test_inputs_and_targets_give_the_text_back(kind, inputs):
    mode = KINDS[kind][1].get("mode", 0)
    how = build(kind, inputs)
    for n in lengths_of(kind, inputs):
        text = raw(n)["tokens"]
        read, written = sides(corrupt(how, raw(n), np.random.default_rng(n)))
        if mode:
            assert read[0] == VOCAB.sentinels[-mode]
            read = read[1:]
        if kind in SENTINELS:
            assert (read[-1], written[-1]) == (VOCAB.eos, VOCAB.eos)
            assert restored(read, written) == text.tolist()
        elif kind == "spans":
            assert (read[-1], written[-1]) == (VOCAB.eos, VOCAB.eos)
            assert alternated(read, written) == text.tolist()
        elif kind == "all":
            np.testing.assert_array_equal(written, [*text, VOCAB.eos])
            assert len(read) == len(written)
        elif kind == "tokens":
            assert sorted([*read[:-1], *written[:-1]]) == sorted(text)
        elif inputs == "memory":
            assert (read[-1], written[-1]) == (VOCAB.eos, VOCAB.eos)
            np.testing.assert_array_equal([*read[:-1], *written[:-1]], text)
        else:
            np.testing.assert_array_equal([*read, *written], text)
        assert np.any(~VOCAB.special[written]) or kind in ("spans", "tokens")  # nothing drawn


@every_variant
def test_each_target_is_predicted_where_the_token_before_it_is_read(kind, inputs):
    how = build(kind, inputs)
    for n in lengths_of(kind, inputs):
        fields = corrupt(how, raw(n), np.random.default_rng(n))
        assert set(fields) == set(how.fields)
        assert np.all(fields["weights"] == 1)
        tokens, targets = fields["tokens"], fields["targets"]
        if inputs == "memory":
            np.testing.assert_array_equal(tokens, [VOCAB.pad, *targets[:-1]])
            continue
        at = fields["predict_at"]
        np.testing.assert_array_equal(at, np.arange(len(tokens) - len(targets), len(tokens)))
        np.testing.assert_array_equal(tokens[at[1:]], targets[:-1])
        if inputs == "prefix":
            np.testing.assert_array_equal(fields["prefix"], np.arange(len(tokens)) <= at[0])


@every_variant
def test_lengths_bound_every_draw_and_budgets_every_length(kind, inputs):
    how = build(kind, inputs)
    axes = pack.field_axes(how.fields)
    exact = KINDS[kind][0] is span_corruption or kind in ("all", "fixed")
    for n in lengths_of(kind, inputs):
        bounds = how.lengths(n)
        assert {axis: int(b[0]) for axis, b in how.lengths(np.array([n])).items()} == bounds
        for draw in range(5):
            fields = corrupt(how, raw(n), np.random.default_rng(draw))
            for field, axis in axes.items():
                assert len(fields[field]) <= bounds[axis]
                assert not exact or len(fields[field]) == bounds[axis]


@every_variant
@pytest.mark.parametrize("seq_len", [16, 128, 512])
def test_the_longest_text_fits_a_row_and_no_longer_one_does(kind, inputs, seq_len):
    how = build(kind, inputs)
    budgets, text = how.budgets(seq_len), how.arrange(seq_len)["raw_length"]
    assert max(budgets[axis] for axis in "ML" if axis in budgets) == seq_len
    assert max(how.lengths(text).values()) <= seq_len < max(how.lengths(text + 1).values())
    bounds = how.lengths(np.arange(1, text + 1))
    assert all(np.max(bounds[axis]) <= budgets[axis] for axis in bounds)
    assert budgets.get("P", 0) % 8 == 0
    if kind in SENTINELS:
        mode = KINDS[kind][1].get("mode", 0)
        drawn = corrupt(how, raw(text), np.random.default_rng(0), Bytes(how.sentinels(seq_len)))
        assert len(np.unique(drawn["targets"][drawn["targets"] > 261])) <= how.sentinels(seq_len)
        assert how.sentinels(seq_len) > mode


def test_span_corruption_has_the_budgets_of_t5():
    how = build("span")
    assert how.arrange(512) == {"raw_length": 568, "overlap": 0, "begin": None, "end": None}
    assert how.budgets(512) == {"M": 512, "L": 114}
    assert how.sentinels(512) == 28
    assert how.lengths(568) == {"M": 512, "L": 114}


@pytest.mark.parametrize(
    "seq_len, rate, mean_span, expected",
    [
        (512, 0.15, 3.0, (568, 114)),
        (64, 0.2, 2.0, (70, 22)),  # these two are t5/data/preprocessors_test.py's
        (64, 0.2, 1.0, (63, 27)),
    ],
)
def test_span_corruption_has_the_published_lengths(seq_len, rate, mean_span, expected):
    how = span_corruption.build(rate=rate, mean_span=mean_span)
    assert (how.arrange(seq_len)["raw_length"], how.budgets(seq_len)["L"]) == expected


@pytest.mark.parametrize("rate", [0.15, 0.5, 0.9])
@pytest.mark.parametrize("mean_span", [1.0, 3.0, 8.0, 64.0])
@pytest.mark.parametrize("seq_len", [3, 17, 18, 128, 512])
def test_budgets_hold_the_longest_text_and_every_shorter_one(seq_len, rate, mean_span):
    how = span_corruption.build(rate=rate, mean_span=mean_span)
    longest, budgets = how.arrange(seq_len)["raw_length"], how.budgets(seq_len)
    for n in range(1, longest + 1):
        assert all(length <= budgets[axis] for axis, length in how.lengths(n).items())
    assert max(how.lengths(longest + 1).values()) > seq_len
    assert max(budgets.values()) == seq_len


@pytest.mark.parametrize("inputs", LAYOUTS)
def test_the_members_of_a_ul2_mixture_share_their_device_half(inputs):
    members = [
        span_corruption.build(inputs=inputs, mode=1),
        span_corruption.build(inputs=inputs, rate=0.5, mode=3),
        prefix_lm.build(inputs=inputs, rate=0.25, mode=2),
    ]
    assert len({(m.fields, m.attention, m.loss) for m in members}) == 1
    first = [sides(corrupt(m, raw(64), np.random.default_rng(0)))[0][0] for m in members]
    assert first == [VOCAB.sentinels[-k] for k in (1, 3, 2)]


@every_variant
def test_the_same_generator_gives_the_same_bytes_and_another_gives_others(kind, inputs):
    how = build(kind, inputs)
    one, two, other = (corrupt(how, raw(64), np.random.default_rng(s)) for s in (0, 0, 1))
    assert all(one[field].tobytes() == two[field].tobytes() for field in one)
    assert kind == "fixed" or any(one[f].tobytes() != other[f].tobytes() for f in one)


class Words(Tokenizer):
    """The words of one sentence; <M> is also the first sentinel."""

    pad, eos = 0, 1
    fingerprint = "words"

    def __init__(self, sentence):
        self.words = sentence.split()
        self.size = len(self.words) + 5
        self.sentinels = (self.size - 1, self.size - 2, self.size - 3)

    def encode(self, text):
        return np.array([self.words.index(word) + 2 for word in text.split()], np.int32)

    def decode(self, ids):
        return " ".join(self.words[i - 2] for i in np.asarray(ids).tolist() if not self.special[i])

    def id_to_token(self, token):
        names = {self.pad: "<p>", self.eos: "</s>"}
        names |= dict(zip(self.sentinels, ("<X>", "<Y>", "<Z>"), strict=True))
        return names.get(token) or self.words[token - 2]

    @property
    def word_starts(self):
        return np.ones(self.size, np.bool_)

    @property
    def token_bytes(self):
        return np.ones(self.size, np.int32)

    def shown(self, ids):
        return " ".join(map(self.id_to_token, np.asarray(ids).tolist()))


PAPER = Words("Thank you for inviting me to your party last week .")
TEXT = PAPER.encode(" ".join(PAPER.words))


def test_the_example_of_the_t5_paper():
    """Figure 2; the released code writes an end token where the figure has <Z>."""
    noise = np.array([0, 0, 1, 1, 0, 0, 0, 0, 2, 0, 0], np.int32)
    written = span_fields(Ragged.concatenate([TEXT]), noise, PAPER, pick_layout("memory"))
    fields = apart(written)[0]
    assert PAPER.shown(fields["memory_tokens"]) == "Thank you <X> me to your party <Y> week . </s>"
    assert PAPER.shown(fields["targets"]) == "<X> for inviting <Y> last </s>"
    assert PAPER.shown(fields["tokens"]) == "<p> <X> for inviting <Y> last"


@pytest.mark.parametrize(
    "write, inputs, targets",
    [
        (iid_denoising.write_all, "Thank you <X> <X> me to your party <X> week .", "{}"),
        (
            iid_denoising.write_spans,
            "Thank you <X> me to your party <Y> week .",
            "<X> for inviting <Y> last <Z>",
        ),
        (iid_denoising.write_tokens, "Thank you me to your party week .", "for inviting last"),
    ],
)
def test_the_styles_of_the_t5_paper(write, inputs, targets):
    """Table 3: MASS-style, replaced spans, dropped tokens, of the same three tokens."""
    noise = np.array([0, 0, 1, 2, 0, 0, 0, 0, 3, 0, 0], np.int32)
    uniform = from_generator(np.random.default_rng(0))
    found = write(Ragged.concatenate([TEXT]), noise, PAPER, uniform, replaced=1.0, random=0.0)
    wanted = inputs, targets.format(" ".join(PAPER.words))
    assert tuple(PAPER.shown(part.values) for part in found) == wanted


def test_sentinels_of_noise_at_the_edges_are_t5s():
    """The released code numbers the gaps in the targets, so that they are one behind here."""
    noise = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], np.int32)
    uniform = from_generator(np.random.default_rng(0))
    found = iid_denoising.write_spans(Ragged.concatenate([TEXT]), noise, PAPER, uniform, 1.0, 0.0)
    assert PAPER.shown(found[0].values) == "<X> you for inviting me to your party last week <Y>"
    assert PAPER.shown(found[1].values) == "Thank <X> ."


def corrupted_tokens(n, draws, **options):
    """bool [draws, n]: which tokens of so many texts are noise, all of it sentinels."""
    how = iid_denoising.build(replaced=1.0, random=0.0, **options)
    texts = together([{"tokens": np.full(n, 100, np.int32)}] * draws)
    found = how.corrupt(texts, from_generator(np.random.default_rng(0)), VOCAB)["memory_tokens"]
    return found.values.reshape(draws, -1)[:, :-1] == VOCAB.sentinel(0)


def test_each_token_is_corrupted_for_itself():
    """Over 20,000 texts of 64 tokens the number is binomial, and no two tokens know of another."""
    n, draws, rate = 64, 20_000, 0.15
    noisy = corrupted_tokens(n, draws)
    places = noisy.mean(0)
    assert np.all(np.abs(places - rate) < 4.5 * np.sqrt(rate * (1 - rate) / draws))
    counts = noisy.sum(1)
    fewest, most = iid_denoising.noise_bounds(n, rate)
    chance = np.array([math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)])
    for k in range(int(fewest) + 1, int(most)):
        error = np.sqrt(chance[k] * (1 - chance[k]) / draws)
        assert abs((counts == k).mean() - chance[k]) < 4.5 * error
    assert (counts.min(), counts.max()) == (fewest, most)
    assert (counts == most).mean() == pytest.approx(chance[most:].sum(), rel=0.2)
    together_drawn = (noisy[:, :-1] & noisy[:, 1:]).mean()
    assert together_drawn == pytest.approx(rate**2, rel=0.03)  # a fixed number: 1.3 % fewer


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_short_texts_may_have_no_noise(n):
    noisy = corrupted_tokens(n, 4000)
    assert (noisy.sum(1) == 0).mean() == pytest.approx(0.85**n, abs=0.03)


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.5, 0.9])
@pytest.mark.parametrize("targets", ["all", "spans", "tokens"])
@pytest.mark.parametrize("inputs", LAYOUTS)
def test_noise_of_single_tokens_never_outgrows_its_row(rate, targets, inputs):
    how = iid_denoising.build(rate=rate, targets=targets, inputs=inputs)
    sizes = [*range(1, 30), 61, 64]
    examples = [raw(n, seed) for seed in range(12) for n in sizes]
    found = how.corrupt(together(examples), from_generator(np.random.default_rng(1)), VOCAB)
    bounds = how.lengths(np.array([len(example["tokens"]) for example in examples]))
    for axis, field in (("L", "tokens"), ("M", "memory_tokens"), ("P", "predict_at")):
        if axis in bounds:
            assert (found[field].splits.sizes <= bounds[axis]).all()


def test_t5s_sentinels_are_enough():
    how = iid_denoising.build(targets="spans")
    assert how.arrange(512)["raw_length"] == 511 and how.sentinels(512) == 98
    assert iid_denoising.noise_bounds(511, 0.15) == (56, 97)


def test_some_corrupted_tokens_are_random():
    """90 % sentinels; of the others one in 256 is the token that was there."""
    how, rng, text = build("all"), np.random.default_rng(0), np.full(64, 100, np.int32)
    draws = 10_000
    texts = together([{"tokens": text}] * draws)
    found = how.corrupt(texts, from_generator(rng), VOCAB)["memory_tokens"].values.reshape(
        draws, -1
    )[:, :-1]
    masked = found == VOCAB.sentinel(0)
    changed = (found != 100) & ~masked
    corrupted = masked.sum() + changed.sum() * 256 / 255
    assert abs(masked.sum() - 0.9 * corrupted) < 3 * np.sqrt(corrupted * 0.09)
    assert not np.any(VOCAB.special[found[changed]])


def test_span_corruption_corrupts_as_much_as_it_says():
    """Over 10,000 texts: 85 of 568 in 28 spans each time, cut from one another anywhere alike."""
    how, draws, ones, first = build("span"), 10_000, 0, 0
    text = {"tokens": np.arange(568, dtype=np.int32) % 256}
    rng = np.random.default_rng(0)
    for _ in range(draws):
        written = corrupt(how, text, rng)["targets"]
        at = np.flatnonzero(VOCAB.special[written])
        assert (len(written), len(at)) == (114, 29)
        sizes = np.diff(at) - 1
        assert sizes.sum() == 85
        ones += np.count_nonzero(sizes == 1)
        first += sizes[0]
    share = 27 / 84  # one of the 27 cuts comes right behind a given span's first token
    # Spans of a text share its noise, which makes their number vary less than if drawn alone.
    assert abs(ones - 28 * draws * share) < 3 * np.sqrt(28 * draws * share * (1 - share))
    assert abs(first / draws - 85 / 28) < 3 * np.sqrt(85 / 28 * 57 / 28 / draws)


@pytest.mark.parametrize("place, first", [("t5", {17}), ("random", set(range(18)))])
def test_the_one_span_of_a_short_text(place, first):
    """3 of 20 tokens: the last ones in T5's arithmetic, and anywhere alike when asked for."""
    how, text = span_corruption.build(place=place), np.arange(100, 120, dtype=np.int32)
    texts = together([{"tokens": text}] * 9000)
    found = apart(how.corrupt(texts, from_generator(np.random.default_rng(0)), VOCAB))
    begins = np.array([fields["targets"][1] - 100 for fields in found])
    assert set(begins.tolist()) == first
    counts = np.bincount(begins)[sorted(first)]
    assert np.all(np.abs(counts - 9000 / len(first)) <= 4 * np.sqrt(9000 / len(first)))


@pytest.mark.parametrize("rate, fewest", [(0.5, 1), (0.25, 32)])
def test_prefix_lm_cuts_anywhere_alike(rate, fewest):
    """Over 10,000 texts of 64 tokens: every place from the fewest inputs to 63, equally often."""
    how, rng, draws = prefix_lm.build(rate=rate), np.random.default_rng(0), 10_000
    texts = together([raw(64)] * draws)
    cuts = how.corrupt(texts, from_generator(rng), VOCAB)["memory_tokens"].splits.sizes - 1
    counts = np.bincount(cuts, minlength=64)[fewest:]
    assert (min(cuts), max(cuts)) == (fewest, 63)
    share = 1 / len(counts)
    assert np.all(np.abs(counts - draws * share) < 4 * np.sqrt(draws * share))
    spread = np.sqrt((len(counts) ** 2 - 1) / 12 / draws)
    assert abs(np.mean(cuts) - (fewest + 63) / 2) < 3 * spread


def test_a_fixed_split_leaves_no_slot_empty():
    how = prefix_lm.build(split="fixed")
    assert how.arrange(512)["raw_length"] == 1022
    assert how.lengths(1022) == how.budgets(512) == {"M": 512, "L": 512}


def test_chunks_of_a_prefix_lm_in_one_stream_are_those_of_causal_lm():
    cut = build("prefix lm", "prefix").arrange(512)
    assert cut == {"raw_length": 513, "overlap": 1, "begin": "bos", "end": "eos"}


def test_marks_choose_the_salient_spans():
    """Marked spans are masked, neighbours apart, and nothing else."""
    marks = np.array([0, 1, 1, 2, 0, 0, 0, 1, 0, 0], np.uint8)
    text = np.arange(10, dtype=np.int32)
    how = salient_spans.build(rate=0.5)
    fields = corrupt(how, {"tokens": text, "annotations": marks}, np.random.default_rng(0))
    x, y, z = VOCAB.sentinels[:3]
    end = VOCAB.eos
    np.testing.assert_array_equal(fields["memory_tokens"], [0, x, y, 4, 5, 6, z, 8, 9, end])
    np.testing.assert_array_equal(fields["targets"], [x, 1, 2, y, 3, z, 7, end])


def test_salient_spans_takes_no_more_than_it_may():
    marks = np.tile(np.array([1, 1, 1, 0], np.uint8), 25)
    marks[80:] = np.tile(np.array([1] * 19 + [0], np.uint8), 1)
    for draw in range(50):
        rng = np.random.default_rng(draw)
        example = {"tokens": np.full(100, draw, np.int32), "annotations": marks}
        written = corrupt(salient_spans.build(spans=4), example, rng)["targets"]
        assert len(written) == 4 * 4 + 1
        written = corrupt(salient_spans.build(rate=0.1, longest=3), example, rng)["targets"]
        assert len(written) == 3 * 4 + 1  # 10 tokens: three spans of three


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_a_text_with_nothing_salient_has_a_random_span_of_three(n):
    how, places = salient_spans.build(), set()
    for draw in range(300):
        example = raw(n) | {"annotations": np.zeros(n, np.uint8)}
        fields = corrupt(how, example, np.random.default_rng(draw))
        assert len(fields["targets"]) == min(n, 3) + 2
        places.add(int(np.flatnonzero(fields["memory_tokens"] == VOCAB.sentinel(0))[0]))
    assert places == set(range(max(n - 3, 0) + 1))


def test_salient_spans_finds_names_and_dates_in_the_text():
    text = "the declaration was signed in Philadelphia on July 4, 1776, as all know well"
    how = salient_spans.build(rate=0.5)
    example = {"tokens": VOCAB.encode(text)}
    read, written = sides(corrupt(how, example, np.random.default_rng(0)))
    assert VOCAB.decode(read) == "the declaration was signed in  on , as all know well"
    assert VOCAB.decode(written) == "PhiladelphiaJuly 4, 1776"


def output_of(likeliest, size):
    """What a model returns whose likeliest tokens are these, int [B, P]."""
    readout = Readout(jnp.eye(size), None, 1.0, size)
    return SimpleNamespace(hidden=jax.nn.one_hot(jnp.asarray(likeliest), size), readout=readout)


def test_span_exact_match_counts_spans_without_a_miss():
    """Two packed texts: spans (5 6) right, (7) wrong; (8 9) half right, (5) right; padding."""
    special = jnp.arange(16) < 4
    targets = np.array([[2, 5, 6, 3, 7, 1, 2, 8, 9, 3, 5, 1, 0, 0]])
    likeliest = np.array([[9, 5, 6, 9, 8, 9, 9, 8, 5, 9, 5, 9, 0, 9]])
    batch = {
        "targets": jnp.asarray(targets),
        "weights": jnp.asarray(targets > 0, jnp.float32),
    }

    def apply(params, batch, rng, train):
        return output_of(likeliest, 16)

    found = span_corruption.build().metrics(apply, None, batch, None, special)
    assert tuple(map(float, found["span_exact_match"])) == (2.0, 4.0)
    assert tuple(map(float, found["accuracy"])) == (4.0, 6.0)
    assert float(found["text"][1]) == 6


def test_exact_spans_of_random_rows_are_those_counted_one_by_one():
    rng = np.random.default_rng(0)
    text, hits = rng.random((2, 50, 30)) < 0.7
    exact = spans = 0
    for t, h in zip(text, hits, strict=True):
        for run in "".join(
            "." if not a else "x" if b else "o" for a, b in zip(t, h, strict=True)
        ).split("."):
            spans += bool(run)
            exact += bool(run) and "o" not in run
    found = exact_spans(jnp.asarray(text), jnp.asarray(hits))
    assert tuple(map(float, found)) == (exact, spans)


@pytest.mark.parametrize("module", [span_corruption, iid_denoising, salient_spans, prefix_lm])
def test_an_unknown_form_is_refused_with_the_three_that_there_are(module):
    with pytest.raises(ConfigError, match=r"memory, prefix, stream.*'memry'.*memory"):
        module.build(inputs="memry")


@pytest.mark.parametrize(
    "module, options",
    [
        (iid_denoising, {"replaced": 0.95}),
        (iid_denoising, {"targets": "words"}),
        (prefix_lm, {"rate": 0.6}),
        (prefix_lm, {"split": "half"}),
        (span_corruption, {"place": "end"}),
    ],
)
def test_senseless_options_are_refused(module, options):
    with pytest.raises(ConfigError, match="objective"):
        module.build(**options)


def test_a_row_too_short_for_one_token_is_refused():
    with pytest.raises(ConfigError, match=r"data\.seq_len"):
        span_corruption.build().budgets(2)
