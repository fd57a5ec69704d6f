"""Words with tags and answers, read from every kind of file, and what is wrong with a file."""

import gzip
import json

import numpy as np
import pytest
from placed import TEXT, asked, cache, corpus, tokenizer, write

from pretrain_jax.data import corpus as corpus_module
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.sources import Columns
from pretrain_jax.errors import DataError


def read(path, places, required=True):
    """(texts, label, id) of all records."""
    return [(list(d.texts), d.label and json.loads(d.label), d.id)
            for d in corpus(path, places, required).records("valid")]  # fmt: skip


# --- words ----------------------------------------------------------------------------------------

WORDS, TAGS = ["Zoë", "saw", "東京", "\u00a0", "."], ["B-PER", "O", "B-LOC", "O", "O"]
JOINED = " ".join(WORDS)
FORMS = {
    "a.jsonl": json.dumps({"tokens": WORDS, "tags": TAGS}),
    "strings.jsonl": json.dumps({"tokens": JOINED, "tags": " ".join(TAGS)}),
    "a.tsv": f"tokens\ttags\n{JOINED}\t{' '.join(TAGS)}\n",
    "no_header.tsv": f"{JOINED}\t{json.dumps(TAGS)}\n",
    "a.csv": f'tags,tokens\n{" ".join(TAGS)},"{JOINED}"\n',
    "a.conll": "-DOCSTART- -X- O O\n\nZoë NNP B-PER\nsaw V O\n東京\tN\tB-LOC\n\u00a0 _ O\r\n. . O",
}


@pytest.mark.parametrize("name", FORMS)
def test_words_in_every_form(tmp_path, name):
    """Also words that are white space to Python."""
    path = tmp_path / name
    path.write_bytes(FORMS[name].encode())
    assert read(path, "words") == [(WORDS, TAGS, None)]


def test_sentences_of_conll(tmp_path):
    path = tmp_path / "a.conll.gz"
    text = "\n\na X\nb Y\n \t\nc X\n-DOCSTART-\nd Y\n"
    path.write_bytes(gzip.compress(text.encode()))
    assert read(path, "words") == [
        (["a", "b"], ["X", "Y"], None),
        (["c"], ["X"], None),
        (["d"], ["Y"], None),
    ]


def test_words_without_tags(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("a X\nb Y\n\nc\nd\n")
    assert [label for _, label, _ in read(path, "words", required=False)] == [["X", "Y"], None]
    path = write(tmp_path / "a.jsonl", {"tokens": ["a"]}, {"tokens": "b c", "tags": None, "id": 7})
    assert read(path, "words", required=False) == [(["a"], None, None), (["b", "c"], None, "7")]


# --- answers --------------------------------------------------------------------------------------

CONTEXT = "Zoë lives in São Paulo 👧."
ANSWER = {"text": ["São Paulo", "Paulo"], "answer_start": [13, 17]}
PAIRS = [{"text": t, "answer_start": n} for t, n in zip(*ANSWER.values(), strict=True)]
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "q1", "question": "Where?", "answers": PAIRS},
                        {
                            "id": "q2",
                            "question": "Who else?",
                            "is_impossible": True,
                            "plausible_answers": PAIRS,
                        },
                    ],
                }
            ],
        }
    ],
}
NONE = {"text": [], "answer_start": []}
READ = [(["Where?", CONTEXT], ANSWER, "q1"), (["Who else?", CONTEXT], NONE, "q2")]


def test_answers_in_every_form(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(SQUAD))
    assert read(tmp_path / "a.json", "answers") == READ
    rows = [{"question": q, "context": c, "answers": a, "id": i} for (q, c), a, i in READ]
    assert read(write(tmp_path / "a.jsonl", *rows), "answers") == READ
    rows[0]["answers"] = PAIRS
    assert read(write(tmp_path / "b.jsonl", *rows), "answers") == READ
    table = "".join(f"{q}\t{c}\t{json.dumps(a)}\n" for (q, c), a, _ in READ)
    (tmp_path / "a.tsv").write_text(table)
    assert read(tmp_path / "a.tsv", "answers") == [(texts, a, None) for texts, a, _ in READ]


def test_questions_without_labels(tmp_path):
    squad = json.loads(json.dumps(SQUAD))
    del squad["data"][0]["paragraphs"][0]["qas"][0]["answers"]
    (tmp_path / "a.json").write_text(json.dumps(squad))
    assert [label for _, label, _ in read(tmp_path / "a.json", "answers", required=False)] == [
        None,
        NONE,
    ]
    with pytest.raises(DataError, match=r"question 'q1' must have the columns 'answers'"):
        read(tmp_path / "a.json", "answers")


# --- what is wrong --------------------------------------------------------------------------------

LOST = {**asked("Where?", CONTEXT), "answers": {"text": ["Paulo"], "answer_start": [18]}}
BAD = [
    ("words", "a.jsonl", {"tokens": ["a", "b"], "tags": ["O"]}, "line 2 has 2 words and 1 tags"),
    ("words", "a.jsonl", {"tokens": "a  b", "tags": "O O"}, "line 2 has 3 words and 2 tags"),
    ("words", "a.jsonl", {"tokens": ["a"]}, "line 2 must have the columns 'tags'"),
    ("words", "a.jsonl", {"tokens": ["a"], "tags": [1.5]}, "tags of .* line 2 must be a list"),
    ("words", "a.jsonl", {"tokens": ["a"], "tags": "[O"}, "label of .* line 2 must be JSON"),
    ("words", "a.jsonl", {"tokens": [1], "tags": ["O"]}, "words of .* line 2 must be a list"),
    ("words", "a.jsonl", {"tokens": [], "tags": []}, "text 1 of .* line 2 must not be empty"),
    ("words", "a.jsonl", {"tokens": ["\ufdd1"], "tags": ["O"]}, "noncharacters .* line 2 has one"),
    ("words", "a.jsonl", {"tokens": ["a\ufdd1"], "tags": ["O"]}, "noncharacters .* line 2 has one"),
    ("words", "a.jsonl", {"tokens": ["\ud800"], "tags": ["O"]}, "line 2 has an unpaired surrogate"),
    ("words", "a.conll", "\nb", "a word and its tag, in 2 columns or more; line 3 has 'b'"),
    ("answers", "a.jsonl", LOST, r"line 2 has the answer 'Paulo' at 18, and it is at 17\. Fix"),
    ("answers", "a.jsonl", {**LOST, "context": "a"}, "'Paulo' at 18, and the context does not"),
    ("answers", "a.jsonl", {**LOST, "answers": ["Paulo"]}, "answers of .* line 2 must have texts"),
    ("answers", "a.jsonl", {**LOST, "answers": {"text": ["P"]}}, "line 2 must have texts"),
    ("answers", "a.jsonl", {**LOST, "context": ["a", "b"]}, "2 texts; .* line 2 has 3"),
    ("answers", "a.jsonl", {"question": "q"}, "must have the columns 'context', 'answers'"),
    ("answers", "a.json", '{"data": [{"paragraph": []}]}', "must have the form .*KeyError"),
    ("answers", "a.json", "[]", "must hold a JSON object"),
    ("answers", "a.tsv", "question\tcontext\n", "columns 'answers'|is a header"),
]
GOOD = {"words": {"tokens": ["a"], "tags": ["O"]}, "answers": asked("q", "a", "a")}


@pytest.mark.parametrize("places, name, record, message", BAD)
def test_a_bad_record_is_named(tmp_path, places, name, record, message):
    good = [GOOD[places]] if name.endswith("jsonl") else ["a O"] if places == "words" else []
    lines = [x if isinstance(x, str) else json.dumps(x) for x in (*good, record)]
    (tmp_path / name).write_text("\n".join(lines))
    with pytest.raises(DataError, match=message) as raised:
        read(tmp_path / name, places)
    assert "\n" not in str(raised.value)


def test_a_record_of_several_blocks_is_named(tmp_path, monkeypatch):
    """Places count from the start of a text, and blocks are tokenized one by one."""
    monkeypatch.setattr(corpus_module, "BLOCK_CHARACTERS", 40)
    records = [asked("q", "word " * 7 + "end"), asked("q", "word " * 7 + "ends")]
    path = write(tmp_path / "a.jsonl", records[0])
    assert len(cache(path, "answers", tokenizer("bytes"))) == 1
    path = write(tmp_path / "b.jsonl", *records)
    with pytest.raises(DataError, match=r"at most 40 characters; .*b\.jsonl line 2 has more"):
        cache(path, "answers", tokenizer("bytes"))


def test_the_ending_of_a_file_is_a_part_of_its_fingerprint(tmp_path):
    """The same bytes are other records in another format."""
    for name in ("a.conll", "a.tsv"):
        (tmp_path / name).write_text("a O\tb\n")
    conll, table = (corpus(tmp_path / name, "words") for name in ("a.conll", "a.tsv"))
    assert conll.fingerprint != table.fingerprint


def test_damaged_places_are_built_again(tmp_path):
    path = write(tmp_path / "a.jsonl", asked("q", TEXT, "東京"))
    stored = cache(path, "answers", tokenizer("bytes"))
    right = np.array(stored.places)
    (stored.folder / "places.bin").write_bytes(right[::-1].tobytes())
    np.testing.assert_array_equal(cache(path, "answers", tokenizer("bytes")).places, right)


def test_the_columns_of_conll_may_be_named_by_their_places(tmp_path):
    """CoNLL's files have a part of speech and an entity for each word."""
    (tmp_path / "a.conll").write_text("1 Anna NN B-PER\n2 runs VB O\n")
    for fields, label, tags in ((("1",), "2", ["NN", "VB"]), (("1",), "", ["B-PER", "O"])):
        columns = Columns(fields, label, count=1, places="words", default_texts=("tokens",))
        (record,) = open_corpus(f"text:{tmp_path}/a.conll", columns=columns, split="all").records(
            "valid"
        )
        assert record.texts == ("Anna", "runs") and json.loads(record.label or "") == tags
    columns = Columns(("word",), "tag", count=1, places="words")
    with pytest.raises(DataError, match="have no names"):
        list(open_corpus(f"text:{tmp_path}/a.conll", columns=columns, split="all").records("valid"))
