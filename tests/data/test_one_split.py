"""A text that one member of a run holds out is trained on by no other member."""

import itertools
import json
import random
import re
from types import SimpleNamespace
from typing import Any

import pytest
import text_objectives

from pretrain_jax import code_version, switches
from pretrain_jax.composition.corpora import open_corpora
from pretrain_jax.composition.spec import DataOptions

OBJECTIVES = text_objectives.PLAIN
KEYS = {"target_key": "target", "spans_key": "spans"}
NOISE = "\ufdd0\ufdd1"  # what marks are written with, in a user's own text


def words(number, count):
    return [f"<{number}:{word}>" for word in range(count)]


def records(folder, documents, noise="", name="a.jsonl", first=0):
    """Records whose words stand nowhere else: a text, its spans at the beginning, and an answer."""
    draw, lines = random.Random(documents), []
    for number in range(first, first + documents):
        text = " ".join(words(number, draw.randrange(20, 60)))
        text = text[:9] + noise + text[9:]
        spans = [[0, 2], [2, 4], [5, 6], [len(text) * 9 // 10 - 2, len(text) * 9 // 10 + 3]]
        lines.append(json.dumps({"text": text, "spans": spans, "target": f"answer{number}"}))
    path = folder / name
    path.write_text("\n".join(lines))
    return f"text:{path}"


def opened(members, split="auto"):
    """The corpora of members (source, objective's name), opened as a run opens them."""
    built = [
        SimpleNamespace(
            source=source,
            name=name,
            rate=1.0,
            objective=text_objectives.build(name),
        )
        for source, name in members
    ]
    read = {member.objective.annotation_kind for member in built}
    keys: Any = {key: name for key, name in KEYS.items() if name + "s" in read or name in read}
    spec = SimpleNamespace(data=DataOptions(seq_len=64, split=split, **keys))
    design = SimpleNamespace(task=SimpleNamespace(members=built), spec=spec)
    return [source.corpus for source in open_corpora(design, None)]  # type: ignore[arg-type]


def seen(corpus, half):
    """The words of a half; one that a cut parts is no word of either."""
    text = " ".join(
        switches.strip_switches("".join(document)) for document in corpus.documents(half)
    )
    return set(re.findall("<[0-9]+:[0-9]+>", text))


def assert_apart(corpora):
    for one, other in itertools.permutations(corpora, 2):
        held_out, trained = seen(one, "valid"), seen(other, "train")
        assert held_out and trained and not held_out & trained


@pytest.mark.parametrize("documents", [40, 400])
@pytest.mark.parametrize("one", OBJECTIVES)
def test_no_pair_of_objectives_parts_one_file_in_two_ways(tmp_path, one, documents):
    source = records(tmp_path, documents)
    for other in OBJECTIVES[OBJECTIVES.index(one) :]:
        assert_apart(opened([(source, one), (source, other)]))


@pytest.mark.parametrize("documents", [40, 400])
def test_characters_that_marks_are_written_with_part_it_alike(tmp_path, documents):
    source = records(tmp_path, documents, NOISE)
    assert_apart(opened([(source, "causal_lm"), (source, "salient_spans")]))
    assert_apart(opened([(source, "causal_lm"), (source, "text_to_text")]))


@pytest.mark.parametrize("names", [("causal_lm",) * 2, ("causal_lm", "text_to_text")])
def test_globs_that_share_a_file_part_it_alike(tmp_path, names):
    """By itself the one is split by tails, the other by hashes."""
    few = records(tmp_path, 60, name="few.jsonl")
    records(tmp_path, 140, name="more.jsonl", first=60)
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "few.jsonl")
    for sources in itertools.permutations([few, f"text:{tmp_path}/*e*.jsonl", f"text:{link}"], 2):
        assert_apart(opened(list(zip(sources, names, strict=True))))


def test_who_reads_the_text_too_changes_neither_split_nor_fingerprint_without_need(tmp_path):
    source, alone = records(tmp_path, 40), {}
    for name in ("causal_lm", "masked_lm", "salient_spans"):
        (alone[name],) = opened([(source, name)])
    plain, spans = opened([(source, "causal_lm"), (source, "salient_spans")])
    assert plain.split_method == spans.split_method == alone["causal_lm"].split_method == "tail"
    assert plain.fingerprint == alone["causal_lm"].fingerprint == alone["masked_lm"].fingerprint
    assert spans.fingerprint == alone["salient_spans"].fingerprint != plain.fingerprint
    with_pairs, _ = opened([(source, "causal_lm"), (source, "text_to_text")])
    assert with_pairs.split_method == "hash" and with_pairs.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("section", "concerned"),
    [
        ({"target_key": "answer", "spans_key": "", "split": "hash"}, True),
        ({"target_key": "", "spans_key": "spans", "split": "auto"}, True),
        ({"target_key": "", "spans_key": "spans", "split": "hash"}, False),
        ({"target_key": "", "spans_key": "", "split": "auto"}, False),
    ],
)
def test_older_runs_over_marked_text_are_concerned_and_no_others(section, concerned):
    changes = code_version.changes_since(
        2, {"data": {"source": "text:a.jsonl", "mixture": [], **section}}
    )
    assert any("whether it is held out" in text for text in changes) == concerned
