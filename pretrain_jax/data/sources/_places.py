"""Labels with places in the texts of a record: a tag for each word, or answers in a context.

Words are a list, or a string in which single spaces separate them; their text is the words with one
space between each. Tags likewise. Answers are those of SQuAD, as in its files or in Hugging Face's:

    [{"text": "1889", "answer_start": 19}]  or  {"text": ["1889"], "answer_start": [19]}

`answer_start` counts characters of the context, from 0. A question without an answer has no texts.
The label is stored as JSON: ["B-PER", "O"], or answers in the second form.
"""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from pretrain_jax.errors import DataError, short_repr
from pretrain_jax.files import parsing

ANSWERS = ("text", "answer_start")
FORM = '{"text": ["1889"], "answer_start": [19]}'
SQUAD = (
    '{"data": [{"paragraphs": [{"context": "...", "qas": [{"id": "...", "question": "..."}]}]}]}'
)


def read_words(name: str, value: Any) -> list[str]:
    """The words of a text. Raises DataError.

    >>> read_words("a.tsv line 2", "Anna lives in Paris .")
    ['Anna', 'lives', 'in', 'Paris', '.']
    """
    words = value.split(" ") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(
            f"the words of {name} must be a list of strings, or a string with spaces between them; "
            f"received {short_repr(value)}"
        )
    return words


def read_tags(name: str, label: Any, words: int) -> str | None:
    """The tags of so many words as JSON; None without tags. Raises DataError.

    >>> read_tags("a.tsv line 2", "B-PER O", 2)
    '["B-PER", "O"]'
    """
    label = label.strip() if isinstance(label, str) else label
    if label is None or label == "":
        return None
    tags = label
    if isinstance(label, str):
        tags = parse_label(name, label) if label.startswith("[") else label.split(" ")
    if not isinstance(tags, list) or not all(type(tag) in (str, int) for tag in tags):
        raise DataError(
            f"the tags of {name} must be a list of strings, or a string with spaces between them; "
            f"received {short_repr(label)}"
        )
    if len(tags) != words:
        raise DataError(
            f"every word must have one tag; {name} has {words} words and {len(tags)} tags. Fix the "
            "line, or name the columns with data.fields and data.label_key"
        )
    return json.dumps([str(tag) for tag in tags], ensure_ascii=False)


def read_answers(name: str, context: str, label: Any) -> str | None:
    """The answers as JSON, in the second form; None without a label.

    Raises DataError, also for an answer whose text is not where `answer_start` says.

    >>> read_answers("a.jsonl line 1", "Since 1889.", [{"text": "1889", "answer_start": 6}])
    '{"text": ["1889"], "answer_start": [6]}'
    """
    if label is None or label == "":
        return None
    answers = parse_label(name, label) if isinstance(label, str) else label
    if isinstance(answers, list) and all(isinstance(one, dict) for one in answers):
        answers = {key: [one.get(key) for one in answers] for key in ANSWERS}
    texts, starts = map(answers.get, ANSWERS) if isinstance(answers, dict) else (None, None)
    if (
        not isinstance(texts, list)
        or not isinstance(starts, list)
        or len(texts) != len(starts)
        or not all(isinstance(text, str) and text for text in texts)
        or not all(type(start) is int for start in starts)
    ):
        raise DataError(
            f"the answers of {name} must have texts and where they start, {FORM}, with empty lists "
            f"for a question without an answer; received {short_repr(label)}"
        )
    for text, start in zip(texts, starts, strict=True):
        if start < 0 or context[start : start + len(text)] != text:
            at = context.find(text)
            where = f"it is at {at}" if at >= 0 else "the context does not have it"
            raise DataError(
                f"every answer must be in its context at answer_start, in characters; {name} has "
                f"the answer {short_repr(text)} at {start}, and {where}. Fix the record"
            )
    return json.dumps(dict(zip(ANSWERS, (texts, starts), strict=True)), ensure_ascii=False)


def parse_label(name: str, label: str) -> Any:
    """The value of a label that is JSON. Raises DataError."""
    try:
        return parsing.parse_json(label)
    except ValueError as error:
        raise DataError(f"the label of {name} must be JSON; {error}. Fix it") from None


def read_squad(file: BinaryIO, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name for messages, {"id", "question", "context", "answers"}) of the questions of a SQuAD
    file, version 1.1 or 2.0. Raises DataError.

    A question with `is_impossible` has no answer; without "answers" it has no label.
    """
    fix = "fix it, or use the lines of a .jsonl file"
    content = parsing.parse_json_as(file.read(), dict, path, fix)
    try:
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    record = {"context": paragraph["context"], **asked}
                    if asked.get("is_impossible"):
                        record["answers"] = []
                    yield f"{path} question {short_repr(asked.get('id'))}", record
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} must have the form {SQUAD}; {error!r}; {fix}") from error
