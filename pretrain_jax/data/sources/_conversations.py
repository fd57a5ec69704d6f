"""Conversations: a JSON object per line (.jsonl), or a list of them (.json).

    {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}
    {"instruction": "Add the numbers.", "input": "2 and 2", "output": "4"}

The second form is Alpaca's: the user's message is the instruction and, after a blank line, the
input, if there is one.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from pretrain_jax import chat_template
from pretrain_jax.chat_template import ROLES, Message, Pieces, join_pieces
from pretrain_jax.data import annotations
from pretrain_jax.data.sources._base import Columns, Document, encode_text
from pretrain_jax.errors import DataError, short_repr
from pretrain_jax.files import parsing

FORMS = (
    'a list "messages" of {"role": ..., "content": ...}, or the texts "instruction" and "output"'
)


def read_documents(
    records: Iterator[tuple[str, dict[str, Any]]], columns: Columns
) -> Iterator[Document]:
    """The documents of records (name for messages, object): one for each conversation, or, for
    pairs (`columns.kind` "targets"), one for each answer, whose text is all that comes before."""
    for name, record in records:
        messages = read_messages(name, record)
        try:
            pieces = chat_template.render(columns.template, messages)
        except DataError as error:
            raise DataError(
                f"{error}; {name} has them. Change them, or remove the record"
            ) from error
        if not any(is_answer for _, is_answer in pieces):
            raise DataError(
                f"a conversation must have an answer of the assistant; {name} has none. Add one, "
                "or remove the record"
            )
        if columns.kind == "targets":
            yield from make_pairs(name, pieces)
        else:
            text = encode_text(name, annotations.annotate_answers(pieces))
            yield Document.from_bytes(name, text, encode_text(name, join_pieces(pieces)))


def make_pairs(name: str, pieces: Pieces) -> Iterator[Document]:
    """A pair for each answer: the text before it, and the answer.

    All pairs of a conversation are in the same split, which depends on its text.
    """
    for number, (piece, is_answer) in enumerate(pieces):
        if is_answer:
            pair = annotations.annotate_target(join_pieces(pieces[:number]), piece)
            yield Document.from_bytes(
                name, encode_text(name, pair), encode_text(name, join_pieces(pieces))
            )


def read_messages(name: str, record: dict[str, Any]) -> list[Message]:
    """The messages of a record. Raises DataError."""
    if "messages" not in record and {"instruction", "output"} <= record.keys():
        more = [] if record.get("input") in (None, "") else [record["input"]]
        asked = [record["instruction"], *more]
        if not all(isinstance(text, str) for text in (*asked, record["output"])):
            raise DataError(f"the texts of {name} must be strings; received {short_repr(record)}")
        messages = [
            {"role": "user", "content": "\n\n".join(asked)},
            {"role": "assistant", "content": record["output"]},
        ]
    else:
        messages = record.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DataError(
            f"a conversation must have {FORMS}; {name} has the keys "
            f"{', '.join(map(repr, record)) or 'of no field'}"
        )
    for number, message in enumerate(messages, start=1):
        check_message(f"message {number} of {name}", message)
    return messages


def check_message(name: str, message: Any) -> None:
    """Raises DataError unless a message has a known role and a text."""
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ROLES or not isinstance(message.get("content"), str):
        raise DataError(
            f"a message must have a role ({', '.join(ROLES)}) and a text as its content; {name} is "
            f"{short_repr(message)}. Fix it, or remove the record"
        )
    if role == "assistant" and not message["content"].strip():
        raise DataError(f"an answer must not be empty; {name} is. Remove the record")


def read_json_list(file: BinaryIO, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name for messages, record) of the objects of a .json file. Raises DataError."""
    fix = "for one object per line, name the file .jsonl"
    records = parsing.parse_json_as(file.read(), list, path, fix)
    if wrong := [one for one in records if not isinstance(one, dict)]:
        raise DataError(f"{path} must be a list of objects; it has {short_repr(wrong[0])}; {fix}")
    for number, record in enumerate(records, start=1):
        yield f"record {number} of {path}", record
