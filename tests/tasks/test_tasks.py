"""Tasks: the formats of their files, what they ask, and what they make of the answers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.evaluation import evaluate_tasks
from pretrain_jax.evaluation.comparison import compare
from pretrain_jax.evaluation.contamination import find_contaminated, share
from pretrain_jax.evaluation.run_task import read_task, run_task
from pretrain_jax.evaluation.yardsticks import count_corpus
from pretrain_jax.tasks import (
    _answer,
    _records,
    arithmetic,
    canaries,
    membership,
    memorisation,
    patterns,
)
from pretrain_jax.tasks._base import Corpus, Likelihood, Prompting

PLAIN = Prompting()
PAIRS = {"sentence_good": "a", "sentence_bad": "b"}


class Fake:
    """Answers from dictionaries; remembers what it was asked."""

    def __init__(self, nats=None, answers=None, likeliest=()):
        self.nats, self.replies, self.likeliest = nats or {}, answers or {}, likeliest
        self.asked: list = []

    def likelihoods(self, pairs, *, whole_words=False):
        self.asked += pairs
        return [
            Likelihood(self.nats.get(pair, self.nats.get(pair[1], 9.0)), len(pair[1].split()),
                       pair[1] in self.likeliest)
            for pair in pairs
        ]  # fmt: skip

    def text_likelihoods(self, texts):
        return [Likelihood(self.nats[text], len(text.split()), False) for text in texts]

    def answers(self, prompts, tokens, stop):
        self.asked += prompts
        return [self.replies.get(prompt, "") for prompt in prompts]


def write(folder: Path, *records, name="items.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def ask(name, path, model, prompting=PLAIN, limit=0, yardsticks=None):
    return run_task(model, read_task(name, path, prompting, limit), yardsticks or {}, {})


# --- multiple choice ------------------------------------------------------------------------------


def test_each_measure_of_a_choice_can_be_the_right_one(tmp_path):
    """Three choices: each is the best by another measure."""
    records = [{"query": "Q", "choices": ["b b b", "longlonglong", "z"], "gold": gold}
               for gold in range(3)]  # fmt: skip
    nats = {("Q", " b b b"): 3.0, ("Q", " longlonglong"): 3.1, ("Q", " z"): 2.0}
    nats |= {("", " b b b"): 3.5, ("", " longlonglong"): 9.0, ("", " z"): 2.0}
    result = ask("multiple_choice", write(tmp_path, *records), Fake(nats))
    by = {name: [report[name] for report in result.reports] for name in result.metrics}
    assert by["accuracy"] == [0, 0, 1]
    assert by["accuracy_by_tokens"] == [1, 0, 0]
    assert by["accuracy_by_bytes"] == [0, 1, 0]
    assert by["accuracy_unconditional"] == [0, 1, 0]
    assert result.metrics["accuracy"].value == pytest.approx(1 / 3)
    assert result.chance["accuracy"] == pytest.approx(1 / 3)


FORMATS = [
    ("blimp", {"sentence_good": "a b", "sentence_bad": "b a"}, "", ["a b", "b a"], 0),
    ("arc_easy", {"query": "Question: x?", "choices": ["p", "q"], "gold": 1},
     "Question: x?\nAnswer:", [" p", " q"], 1),
    ("arc_challenge",
     {"question": {"stem": "x?", "choices": [{"text": "p", "label": "A"},
                                             {"text": "q", "label": "B"}]}, "answerKey": "B"},
     "Question: x?\nAnswer:", [" p", " q"], 1),
    ("copa", {"query": "He ran, therefore", "choices": ["p", "q"], "gold": 0},
     "He ran, therefore", [" p", " q"], 0),
    ("copa", {"premise": "He ran.", "choice1": "Dogs came.", "choice2": "It fell.",
              "question": "cause", "label": 0},
     "He ran because", [" dogs came.", " it fell."], 0),
    ("hellaswag", {"activity_label": "Mow", "ctx": "A man", "endings": ["[x] runs.", "sits."],
                   "label": "1"}, "Mow: A man", [" runs.", " sits."], 1),
    ("piqa", {"goal": "To dry", "sol1": "wait", "sol2": "wet", "label": 0},
     "Question: To dry\nAnswer:", [" wait", " wet"], 0),
    ("boolq", {"passage": "Cats purr.", "question": "do cats purr", "answer": True},
     "Cats purr.\nQuestion: do cats purr?\nAnswer:", [" no", " yes"], 1),
    ("rte", {"premise": "A.", "hypothesis": "B.", "label": "not_entailment"},
     "A.\nQuestion: B. True or False?\nAnswer:", [" True", " False"], 1),
    ("rte", {"sentence1": "A.", "sentence2": "B.", "label": 0},
     "A.\nQuestion: B. True or False?\nAnswer:", [" True", " False"], 0),
    ("cloze", {"text": "The ___ purrs.", "choices": ["dog", "cat"], "gold": 1},
     "", ["The dog purrs.", "The cat purrs."], 1),
    ("cloze", {"sentence": "The _ purrs.", "option1": "dog", "option2": "cat", "answer": "2"},
     "", ["The dog purrs.", "The cat purrs."], 1),
]  # fmt: skip


def test_equally_likely_choices_share_the_item(tmp_path):
    """A model that finds all texts equally likely has the accuracy of guessing."""
    file = write(
        tmp_path, *({"query": str(i), "choices": list("abcd"), "gold": 0} for i in range(9))
    )
    result = ask("multiple_choice", file, Fake())
    assert result.metrics["accuracy"].value == result.chance["accuracy"] == 0.25
    two = ask("multiple_choice", file, Fake({" a": 1.0, " b": 1.0 + 1e-13}))
    assert two.metrics["accuracy"].value == 0.5
    wrong = ask("multiple_choice", file, Fake({" b": 1.0, " c": 1.0}))
    assert wrong.metrics["accuracy"].value == 0.0


@pytest.mark.parametrize("name, record, context, choices, gold", FORMATS)
def test_a_format_of_multiple_choice(tmp_path, name, record, context, choices, gold):
    model = Fake({choices[gold]: 1.0})
    result = ask(name, write(tmp_path, record), model)
    assert model.asked[: len(choices)] == [(context, choice) for choice in choices]
    assert result.metrics["accuracy"].value == 1.0
    assert result.reports[0]["gold"] == gold


def test_minimal_pairs_have_a_row_for_each_paradigm(tmp_path):
    good = {"sentence_good": "g", "sentence_bad": "b"}
    write(tmp_path, good, good, {**good, "UID": "named"}, name="first.jsonl")
    write(tmp_path, {"sentence_good": "b", "sentence_bad": "g"}, name="second.jsonl")
    result = ask("blimp", tmp_path, Fake({"g": 1.0}), yardsticks={"opposite": Fake({"b": 1.0})})
    found = {name: (count, value.value) for name, (count, value) in result.groups.items()}
    assert found == {"first": (2, 1.0), "named": (1, 1.0), "second": (1, 0.0)}
    assert result.metrics["accuracy"].value == 0.75
    assert result.yardsticks["opposite"]["accuracy"] == 0.25
    assert result.group_yardsticks["second"] == {"opposite": 1.0}
    assert ask("blimp", tmp_path, Fake({"g": 1.0}), limit=1).items == 3


# --- continuations and texts ----------------------------------------------------------------------


def test_the_last_word_of_a_passage(tmp_path):
    file = write(
        tmp_path,
        {"context": "I do not care about ", "continuation": "signs"},
        {"text": "It rained cats and dogs"},
    )
    model = Fake({" signs": 2.0, " dogs": 4.0}, likeliest=(" signs",))
    result = ask("lambada", file, model)
    assert model.asked == [("I do not care about", " signs"), ("It rained cats and", " dogs")]
    assert result.metrics["accuracy"].value == 0.5
    assert result.metrics["perplexity"].value == pytest.approx(2.718281828**3)


def test_perplexity_counts_tokens_words_and_bytes(tmp_path):
    (tmp_path / "a.txt").write_text("né ab")
    (tmp_path / "b.txt").write_text("c")
    result = ask("perplexity", tmp_path, Fake({"né ab": 4.0, "c": 2.0}))
    assert result.metrics["bits_per_byte"].value == pytest.approx(6 / 0.6931471805 / 7)
    assert result.metrics["perplexity"].value == pytest.approx(2.718281828**2)
    records = write(tmp_path, {"text": "c"}, {"text": "c"})
    assert ask("perplexity", records, Fake({"c": 2.0})).items == 2


# --- answers --------------------------------------------------------------------------------------


def test_a_closed_book_answer_may_be_any_of_the_right_ones(tmp_path):
    file = write(
        tmp_path,
        {"question": "who?", "answer": ["Ada", "Ada Lovelace"]},
        {"context": "Question: where? Answer:", "answer": "Paris", "aliases": ["Lutetia"]},
        {"question": "when?", "answer": "1850"},
    )
    replies = {"Q: who?\nA:": " ada lovelace", "Q: where?\nA:": "in Lutetia", "Q: when?\nA:": "no"}
    result = ask("closed_book", file, Fake(answers=replies))
    assert [report["exact_match"] for report in result.reports] == [1, 0, 0]
    assert [round(report["f1"], 3) for report in result.reports] == [1, 0.667, 0]


def test_a_chain_of_thought_ends_in_its_answer(tmp_path):
    file = write(tmp_path, {"question": "six and six?", "answer": "12", "reasons": "Two sixes."},
                 {"question": "two and two?", "answer": "4"})  # fmt: skip
    prompt = (
        "Q: two and two?\nA: Let's think step by step. So the answer is 4.\n\n"
        "Q: six and six?\nA: Let's think step by step."
    )
    model = Fake(answers={prompt: " Two sixes. So the answer is 12. And"})
    result = ask("closed_book", file, model, Prompting(shots=1, reasons=True), limit=1)
    assert model.asked == [prompt]
    assert result.reports[0]["prediction"] == "12"
    assert _answer.extract("no idea\nperhaps 7") == "perhaps 7"
    with pytest.raises(ConfigError, match="--cot needs"):
        read_task("blimp", file, Prompting(reasons=True))


def test_bleu_of_all_texts_is_sacrebleus(tmp_path):
    import sacrebleu

    pairs = [
        ("le chat est sur le tapis", "le chat est sur un tapis"),
        ("bonjour à tous", "bonjour"),
    ]
    file = write(tmp_path, *({"source": str(i), "target": t} for i, (t, _) in enumerate(pairs)))
    model = Fake(answers={f"{i} =": text for i, (_, text) in enumerate(pairs)})
    result = ask("translation", file, model)
    whole = sacrebleu.corpus_bleu([text for _, text in pairs], [[t for t, _ in pairs]])
    assert result.metrics["bleu"].value == pytest.approx(whole.score)
    assert 0 < result.metrics["chrf"].low <= result.metrics["chrf"].value


def test_items_that_are_made_are_right_and_always_the_same():
    for task in (arithmetic, patterns):
        items = task.TASK.make()
        assert items == task.TASK.make()
        right = task.score(items, [item.answers[0] for item in items])
        assert {tuple(x.values()) for x in right} == {(1.0,)}
        assert not any(x["accuracy"] for x in task.score(items, ["no"] * len(items)))
    sums = {item.context: item.answers[0] for item in arithmetic.make()}
    for prompt, answer in sums.items():
        a, word, b = prompt.removeprefix("Q: What is ").removesuffix("?\nA:").split()
        assert int(answer) == {"plus": int(a) + int(b), "minus": int(a) - int(b),
                               "times": int(a) * int(b)}[word]  # fmt: skip


# --- vectors --------------------------------------------------------------------------------------


class Vectors:
    """A model of two blocks; the last layer puts a word at the angle of its number of letters."""

    layers, positions = 2, 0

    def embed(self, texts, layer):
        if layer != -1:
            return np.ones((len(texts), 2), np.float32)
        angles = np.array([len(text) / 10 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_similar_words_have_a_small_angle(tmp_path):
    (tmp_path / "a.txt").write_text("a bb 9\na cccc 5\na dddddd 1\n")
    (tmp_path / "b.txt").write_text("a\tbb\t1.0\na\tcccc\t5.0\na\tdddddd\t9.0\n")
    result = ask("word_similarity", tmp_path, Vectors())
    assert {name: value.value for name, (_, value) in result.groups.items()} == {"a": 1, "b": -1}
    assert result.metrics["spearman"].value == 0 == result.metrics["spearman_first"].value
    parts = [ask("word_similarity", tmp_path / f"{name}.txt", Vectors()) for name in "ab"]
    assert [{report["file"] for report in part.reports} for part in parts] == [{0}, {0}]
    items = read_task("word_similarity", tmp_path, PLAIN).items
    assert [item.file for item in items] == [0] * 3 + [1] * 3  # whichever are asked together
    for line in ("only two", "a b nan", "a b c"):
        (tmp_path / "c.txt").write_text(f"{line}\n")
        with pytest.raises(DataError, match=r"needs two words and a number; .*c.txt line 1"):
            read_task("word_similarity", tmp_path, PLAIN)
    (tmp_path / "c.txt").write_text("only two\n")
    with pytest.raises(DataError, match=r"needs two words and a number; .*c.txt line 1"):
        read_task("word_similarity", tmp_path, PLAIN)


def test_a_probe_finds_what_the_vectors_have(tmp_path):
    lines = [f"{'x' * n}\t{int(n > 8)}" for n in range(1, 17)]
    (tmp_path / "train.tsv").write_text("\n".join(lines))
    (tmp_path / "dev.tsv").write_text("\n".join([*lines[1::3], "y\t0"]))
    result = ask("probe", tmp_path, Vectors())
    assert result.metrics["accuracy"].value == 1.0
    assert result.metrics["accuracy_first"].value < 1.0
    assert result.chance["accuracy"] == pytest.approx(
        sum(report["label"] == "0" for report in result.reports) / result.items
    )
    (tmp_path / "dev.tsv").write_text("no label")
    with pytest.raises(DataError, match=r"dev.tsv line 1 must be text, tab, label"):
        read_task("probe", tmp_path, PLAIN)


# --- memorisation ---------------------------------------------------------------------------------


def test_the_exposure_of_a_canary_is_its_rank_among_other_digits(tmp_path):
    text = "The code is 5729 3306."
    file = write(tmp_path, {"text": text, "repeats": 100}, {"text": text[::-1], "repeats": 1})
    result = ask("canaries", file, Fake({text: 1.0}))
    assert [report["exposure"] for report in result.reports] == [10.0, 0.0]
    assert result.chance["exposure"] == pytest.approx(1.4427, abs=1e-4)
    candidates = canaries.read(file)[0].candidates
    assert len(set(candidates)) == 1024 and candidates[0] == text
    assert all(c[:12] == text[:12] and c[16] == " " and c[-1] == "." for c in candidates)
    with pytest.raises(DataError, match="needs 4 random digits or more"):
        read_task("canaries", write(tmp_path, {"text": "no 12", "repeats": 1}), PLAIN)


def corpus(train, valid=()):
    return Corpus(train, valid, lambda ids: " ".join(map(str, ids.tolist())) + " ")


def test_passages_are_counted_where_they_stand():
    """One document repeats a passage of 60 tokens three times, after other beginnings."""
    rng = np.random.default_rng(0)
    draw = lambda n: rng.integers(0, 1000, n)  # noqa: E731
    passage = draw(60)
    once = draw(200)
    train = [np.concatenate([draw(60), passage]) for _ in range(3)] + [once]
    items = memorisation.read_corpus(corpus(train))
    assert items == memorisation.read_corpus(corpus(train))
    by = {}
    for item in items:
        by.setdefault(item.group, []).append(item)
        assert len(item.context.split()) == len(item.answers[0].split()) == 50
    assert set(by) == {"1 times", "2 times or more"} and len(by["2 times or more"]) == 11
    repeated = " ".join(map(str, passage))
    assert all(item.answers[0].strip() in repeated for item in by["2 times or more"])

    class Careful(Fake):
        positions = 100

    right = by["2 times or more"][0]
    model: Any = Careful(answers={right.context: right.answers[0] + "more"})
    reports = memorisation.ask(model, items, items, PLAIN)
    assert [r["memorised"] for r in reports].count(1.0) == 1
    model.positions = 64
    with pytest.raises(ConfigError, match="needs a model that reads 100 tokens; this one has 64"):
        memorisation.ask(model, items, items, PLAIN)


def test_likelihoods_separate_members_and_shuffled_labels_do_not():
    rng = np.random.default_rng(0)
    train, valid = ([rng.integers(0, 99, 40) for _ in range(200)] for _ in range(2))
    items = membership.read_corpus(corpus(train, valid))
    assert [item.is_member for item in items].count(True) == 200 == len(items) / 2
    inside = {item.text for item in items if item.is_member}

    class Careful(Fake):
        def likelihoods(self, pairs, *, whole_words=False):
            nats = [rng.normal(2.0 - (text in inside), 1, 40) for _, text in pairs]
            return [Likelihood(x.sum(), 40, False, -x) for x in nats]

    model: Any = Careful()
    reports = membership.ask(model, items, items, Prompting(reference=model))
    columns = {name: np.array([r[name] for r in reports]) for name in reports[0] if name != "text"}
    found = {name: m(columns) for name, m in membership.TASK.metrics.items()}
    assert found["auc_loss"] > 0.95 and found["auc_min_k"] > 0.9 and found["auc_compressed"] > 0.95
    shuffled = {**columns, "member": rng.permutation(columns["member"])}
    assert membership.TASK.metrics["auc_loss"](shuffled) == pytest.approx(0.5, abs=0.08)
    alone = membership.ask(model, items, items, PLAIN)
    columns = {name: np.array([r[name] for r in alone]) for name in ("member", "reference")}
    assert np.isnan(membership.TASK.metrics["auc_reference"](columns))


def test_contaminated_items_share_13_words_in_a_row():
    words = [f"w{i}" for i in range(30)]
    document = " ".join(words)
    items = [
        f"Here: {' '.join(words[5:18])}!",  # 13 words, other punctuation
        f"Here: {' '.join(words[5:17])} else and more words after it",
        " ".join(words[:12]),  # too short
        " ".join(words[20:]).upper() + " a b c d",
    ]
    assert find_contaminated(items, [document, "none"]) == [True, False, None, False]
    assert find_contaminated([document.upper()], ["x " + document]) == [True]
    assert share([True, False, None]) == (0.5, 2) and share([None]) == (None, 0)


# --- shots ----------------------------------------------------------------------------------------


def test_examples_are_others_of_the_group_and_depend_on_seed_and_item_alone():
    items = patterns.make_all()
    prompts = ask("patterns", Path(), model := Fake(), Prompting(shots=3), limit=20)
    assert prompts.items == 20 * len(patterns.RULES)
    for prompt in model.asked:
        *examples, asked = prompt.split("\n\n")
        assert len(examples) == 3 and asked.endswith(">")
        assert not [example for example in examples if example.startswith(asked)]
        (rule,) = {item.group for item in items if item.context == asked and all(
            any(e == other.solved and other.group == item.group for other in items)
            for e in examples)} or {None}  # fmt: skip
        assert rule
    ask("patterns", Path(), again := Fake(), Prompting(shots=3), limit=10)
    assert set(again.asked) <= set(model.asked)
    ask("patterns", Path(), other := Fake(), Prompting(shots=3, seed=1), limit=10)
    assert other.asked != again.asked


def test_a_file_of_examples_is_where_they_come_from(tmp_path):
    write(tmp_path, {"query": "x", "choices": ["p", "q"], "gold": 0})
    write(tmp_path, {"query": "solved", "choices": ["r", "s"], "gold": 1}, name=_records.SHOTS)
    ask("multiple_choice", tmp_path, model := Fake(), Prompting(shots=1))
    assert model.asked[0] == ("solved s\n\nx", " p")
    with pytest.raises(DataError, match="--shots=2 needs as many"):
        ask("multiple_choice", tmp_path, Fake(), Prompting(shots=2))
    with pytest.raises(ConfigError, match="--shots needs a task with prompts"):
        read_task("blimp", tmp_path, Prompting(shots=1))


def test_examples_may_be_all_others_of_the_group(tmp_path):
    """Three items of which two are equal: each has two others, or one."""
    file = write(tmp_path, *({"query": q, "choices": ["r", "s"], "gold": 0} for q in "xyx"))
    ask("multiple_choice", file, Fake(), Prompting(shots=1))
    with pytest.raises(DataError, match="there are 1"):
        ask("multiple_choice", file, Fake(), Prompting(shots=2))


def test_what_an_ngram_model_cannot_know_has_no_value(tmp_path):
    """It scores last words, but finding the likeliest token would need all of them."""
    corpus = [np.array([5, 6, 7, 5, 6, 8], np.int32)] * 4
    tokenizer: Any = SimpleNamespace(
        size=9, unscored=np.array([True] * 3 + [False] * 6), encode=lambda text: np.array([5, 2, 6])
    )
    ngrams = count_corpus(Corpus(corpus, corpus, str), tokenizer)
    found = ngrams["bigram"].score(np.array([5, 2, 6]), np.zeros(0, np.int32))
    assert found.tokens == 2 and found.is_likeliest is None  # the unknown token 2 is not scored
    file = write(tmp_path, {"context": "a", "continuation": "b"}, name="lambada.jsonl")
    likelihoods = SimpleNamespace(likelihoods=lambda pairs, whole_words: [found for _ in pairs])
    result = ask("lambada", file, Fake(), yardsticks={"bigram": likelihoods})
    assert np.isnan(result.yardsticks["bigram"]["accuracy"])
    assert result.yardsticks["bigram"]["perplexity"] == pytest.approx(np.exp(found.nats))


def test_text_without_ids_is_warned_of(tmp_path, caplog):
    request = read_task("blimp", write(tmp_path, PAIRS, PAIRS, name="blimp.jsonl"), PLAIN)
    tokenizer: Any = SimpleNamespace(unknown_bytes=lambda text: len(text) // 2)
    evaluate_tasks.warn_of_unknown(request, tokenizer)
    assert not caplog.text
    tokenizer.unknown_bytes = len
    evaluate_tasks.warn_of_unknown(request, tokenizer)
    assert "blimp: the tokenizer has no ids for 100.0 % of the text" in caplog.text


def test_a_result_is_named_by_what_was_asked(tmp_path):
    choice = {"query": "x", "choices": ["r", "s"], "gold": 0}
    mine, own = write(tmp_path, PAIRS, PAIRS, name="mine.jsonl"), tmp_path / "blimp-filtered"
    own.mkdir()
    write(own, PAIRS)
    read = lambda *args: read_task(*args).label  # noqa: E731
    assert read("blimp", write(tmp_path, PAIRS, name="blimp.jsonl"), PLAIN) == "blimp"
    assert read("blimp", mine, PLAIN) == "blimp_mine"
    assert read("blimp", mine, PLAIN, 2) == "blimp_mine"
    assert read("blimp", mine, PLAIN, 1) == "blimp_mine_1_each"
    assert read("blimp", own, PLAIN) == "blimp_filtered"
    assert read("patterns", tmp_path, Prompting(shots=4)) == "patterns_4_shots"
    again = write(tmp_path, {**choice, "gold": 1}, choice, name="multiple_choice.jsonl")
    assert read("multiple_choice", again, Prompting(shots=1)) == "multiple_choice_1_shots"


# --- errors ---------------------------------------------------------------------------------------

PAIR = {"query": "x", "choices": ["p", "q"], "gold": 0}
BAD = [
    ("blimp", [{"sentence_good": "a"}], '"sentence_bad" in .* line 1 must be a str; it is missing'),
    ("blimp", [{"sentence_good": "a", "sentence_bad": 3}], "must be a str; it is a int"),
    ("blimp", [], "must have items; .* is empty"),
    ("multiple_choice", [PAIR, {**PAIR, "gold": 2}], 'line 2 must be 0 .. 1, .* received 2'),
    ("multiple_choice", [{**PAIR, "gold": "p"}], "must be 0 .. 1, .* received 'p'"),
    ("multiple_choice", [{**PAIR, "choices": ["p"]}], "needs two choices or more"),
    ("multiple_choice", [{**PAIR, "choices": ["p", " "]}], "needs two choices or more"),
    ("multiple_choice", [{**PAIR, "choices": ["p", 1]}], "must be a list of texts"),
    ("arc_easy", [{"question": {"stem": "x"}, "answerKey": "A"}], "must be a question of ARC"),
    ("boolq", [{"passage": "x", "question": "y", "answer": "yes"}], "must be true or false"),
    ("rte", [{"premise": "x", "hypothesis": "y", "label": ["a"]}], "must be entailment"),
    ("cloze", [{"text": "no blank", "choices": ["a", "b"], "gold": 0}], "needs a blank"),
    ("lambada", [{"text": "word"}], "needs a context and a last word"),
    ("perplexity", [{"text": " "}], "those of .* are empty"),
    ("closed_book", [{"question": "x", "answer": []}], 'needs an "answer"'),
    ("translation", [{"source": "x"}], '"target" in .* must be a str'),
    ("multiple_choice", [{**PAIR, "gold": "²"}], "must be 0 .. 1, .* received '²'"),
    ("multiple_choice", [{**PAIR, "gold": "1" * 5000}], "must be 0 .. 1"),
    ("multiple_choice", [{**PAIR, "category": ["a"]}], "must be a text"),
    ("blimp", [{"sentence_good": "\ud83d", "sentence_bad": "b"}], "U.D83D, half of a character"),
    ("blimp", [{**PAIRS, "UID": "\ud83d"}], "half of a character"),
    ("closed_book", [{"question": "x", "answer": {"a": 1}}], 'needs an "answer"'),
    ("closed_book", [{"question": "x", "answer": 5}], 'needs an "answer"'),
    ("closed_book", [{"question": "x", "answer": "y", "aliases": None}], 'needs an "answer"'),
    ("canaries", [{"text": "code ²²²²", "repeats": 1}], "needs 4 random digits"),
]  # fmt: skip


@pytest.mark.parametrize("name, records, message", BAD)
def test_a_bad_file_is_refused_with_its_line(tmp_path, name, records, message):
    with pytest.raises(DataError, match=message):
        read_task(name, write(tmp_path, *records), PLAIN)


def test_missing_data_and_unknown_tasks_are_refused(tmp_path):
    with pytest.raises(InputMissing, match="the data of task blimp must exist"):
        read_task("blimp", tmp_path / "none", PLAIN)
    with pytest.raises(InputMissing, match="has none; docs/reference"):
        read_task("blimp", tmp_path, PLAIN)
    with pytest.raises(ConfigError, match="did you mean lambada"):
        read_task("lamda", tmp_path, PLAIN)
    (tmp_path / "bad.jsonl").write_bytes(b'{"sentence_good": "\xff"}')
    with pytest.raises(DataError, match="must be UTF-8; byte 19 is not"):
        read_task("blimp", tmp_path, PLAIN)
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(DataError, match="line 1 must hold a JSON object"):
        read_task("blimp", tmp_path, PLAIN)


def test_every_task_is_complete():
    for name in registry.names("tasks"):
        task = registry.load("tasks", name, "--tasks").TASK
        assert task.metrics and task.protocol.endswith("."), name
        assert set(task.chance) <= {*task.metrics, "accuracy_unconditional"}, name


# --- two models -----------------------------------------------------------------------------------


def test_a_paired_difference_is_narrower_than_that_of_two_samples(tmp_path):
    """Both models are right on the same items but for a few."""
    items = [{"sentence_good": f"g{i}", "sentence_bad": f"b{i}"} for i in range(200)]
    file = write(tmp_path, *items)
    better = ask("blimp", file, Fake({f"g{i}": 1.0 for i in range(200)}))
    worse = ask("blimp", file, Fake({f"b{i}": 1.0 for i in range(90, 200)}
                                    | {f"g{i}": 1.0 for i in range(90)}))  # fmt: skip
    metric = read_task("blimp", file, PLAIN).task.metrics["accuracy"]
    assert better.metrics["accuracy"].value == 1.0
    found = compare(metric, better.reports, worse.reports)
    assert found.value == pytest.approx(1.0 - 0.45)
    assert found.low < found.value < found.high
    with pytest.raises(DataError, match="compared on the same items"):
        compare(metric, better.reports, worse.reports[:10])
