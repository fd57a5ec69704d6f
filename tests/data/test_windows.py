"""Windows of contexts: exact ones, and as loops in the words of run_squad.py make them."""

import json
import pickle
import random
from functools import partial

import pytest
from placed import asked, cache, tokenizer, write
from sequences import taken

from pretrain_jax.data.windows import Windows, max_context
from pretrain_jax.errors import DataError
from pretrain_jax.objectives.extract_span import read_spans

READ = partial(read_spans, unanswerable=True)


def windows(tmp_path, *records, tokens=8, question_length=3, stride=3, required=True):
    """Windows over bytes, one token per character."""
    stored = cache(write(tmp_path / "a.jsonl", *records), "answers", tokenizer("bytes"), required)
    return Windows(
        stored, tokens=tokens, question_length=question_length, stride=stride, read_labels=READ
    )


def shown(made, k):
    """(question, context, answer) of a window as text; None for no label."""
    raw = taken(made, k)
    first, second = (tokenizer("bytes").decode(raw[name]) for name in ("first", "second"))
    if not raw["known"][0]:
        return first, second, None
    start, end = int(raw["start"][0]), int(raw["end"][0])
    return first, second, second[start : end + 1] if start >= 0 else ""


def test_windows_by_hand(tmp_path):
    """The question is cut to 3 tokens; a shorter one leaves more room for the context."""
    records = [asked("what", "abcdefghij", "gh"), asked("q", "abcdefgh", "b"), asked("q", "abc")]
    made = windows(tmp_path, *records)
    assert [shown(made, k) for k in range(len(made))] == [
        ("wha", "abcde", ""),
        ("wha", "defgh", "gh"),
        ("wha", "ghij", "gh"),
        ("q", "abcdefg", "b"),
        ("q", "defgh", ""),
        ("q", "abc", ""),
    ]
    assert made.length.tolist() == [[3, 5], [3, 5], [3, 4], [1, 7], [1, 5], [1, 3]]
    assert [list(made.windows(record)) for record in range(3)] == [[0, 1, 2], [3, 4], [5]]
    assert [counts.tolist() for counts in made.counted(0)] == [
        [True] * 4 + [False],
        [False] + [True] * 3 + [False],
        [False] + [True] * 3,
    ]
    assert made.characters(2).tolist() == [[6, 7], [7, 8], [8, 9], [9, 10]]


def test_an_answer_in_no_window_gives_no_label(tmp_path):
    """Too long for a window, or of nothing that has a token; all windows of the record lose it."""
    records = [
        asked("wha", "abcdefghij", "bcdefgh"),
        asked("q", "ab  c", " "),
        asked("q", "a", "a"),
    ]
    made = windows(tmp_path, *records)
    assert [shown(made, k)[2] for k in range(len(made))] == [None, None, None, None, "a"]
    assert made.lost == 2


def test_a_record_without_a_label_has_windows(tmp_path):
    record = {"question": "q", "context": "abc"}
    made = windows(tmp_path, record, asked("q", "abc", "b"), required=False)
    assert [shown(made, k)[2] for k in range(2)] == [None, "b"]
    assert made.lost == 0


def reference(question, context, answer, sizes):
    """run_squad.py (Apache-2.0), convert_examples_to_features and _check_is_max_context: for each
    window (start, length, answer or None), and the window of each token."""
    tokens, question_length, stride = sizes
    room = tokens - min(question, question_length)
    spans, start = [], 0
    while start < context:
        length = min(context - start, room)
        spans.append((start, length))
        if start + length == context:
            break
        start += min(length, stride)
    best = []
    for position in range(context):
        best_score, best_index = None, None
        for index, (start, length) in enumerate(spans):
            end = start + length - 1
            if position < start or position > end:
                continue
            left, right = position - start, end - position
            score = min(left, right) + 0.01 * length
            if best_score is None or score > best_score:
                best_score, best_index = score, index
        best.append(best_index)
    targets = []
    for start, length in spans:
        a, b = answer
        inside = a >= start and b <= start + length - 1
        targets.append((a - start, b - start) if inside else (-1, -1))
    return spans, best, targets


def test_windows_are_those_of_run_squad(tmp_path):
    draw, records = random.Random(0), []
    cases: list[tuple[int, int, tuple[int, int]]] = []
    for _ in range(150):
        question, context = draw.randint(1, 9), draw.randint(1, 60)
        a = draw.randrange(context)
        b = min(a + draw.choice([0, 0, 1, 3]), context - 1)
        text = "".join(draw.choices("abcdefgh", k=context))
        answers = {"text": [text[a : b + 1]], "answer_start": [a]}
        records.append({"question": "x" * question, "context": text, "answers": answers})
        cases.append((question, context, (a, b)))
    for sizes in ((12, 6, 4), (20, 5, 3), (9, 8, 128), (40, 4, 10)):
        made = windows(
            tmp_path, *records, tokens=sizes[0], question_length=sizes[1], stride=sizes[2]
        )
        for record, case in enumerate(cases):
            spans, best, targets = reference(*case, sizes)
            mine = slice(made.windows(record).start, made.windows(record).stop)
            assert list(zip(made.first[mine], made.length[mine, 1], strict=True)) == spans
            assert max_context(made.first[mine], made.length[mine, 1]).tolist() == best
            if made.known[mine].all():
                assert made.answer[mine].tolist() == list(map(list, targets))
            else:
                assert all(target == (-1, -1) for target in targets)


def test_a_worker_makes_the_same_windows(tmp_path):
    made = windows(tmp_path, asked("what", "abcdefghij", "gh"), asked("q", "abc"))
    again = pickle.loads(pickle.dumps(made))
    for k in range(len(made)):
        assert all(
            (a == b).all()
            for a, b in zip(taken(made, k).values(), taken(again, k).values(), strict=True)
        )


def test_a_context_of_nothing_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", asked("q", "a", "a"), asked("q", "\u200b\u200b"))
    stored = cache(path, "answers", tokenizer("wordpiece"))
    with pytest.raises(DataError, match=r"every context must have a token.* record 2"):
        Windows(stored, tokens=8, question_length=3, stride=3, read_labels=READ)


def test_a_question_without_an_answer_needs_the_option():
    none = json.dumps({"text": [], "answer_start": []})
    assert READ([none, None]).split()[0].tolist() == [-1, -1]
    with pytest.raises(DataError, match=r"record 2 has none\. Set objective\.unanswerable=True"):
        read_spans([None, none], unanswerable=False)
