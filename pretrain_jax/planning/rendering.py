"""Tokens as text, and entries of a page of text."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from pretrain_jax.tokenizers import Tokenizer

WIDTH = 100
MAX_CHARACTERS = 500
"""Of a text that is shown."""


def render_tokens(
    tokenizer: Tokenizer, tokens: np.ndarray, predicted: Mapping[int, int] | None = None
) -> str:
    """Tokens int [n] as text; special ids are spelled out.

    predicted: {index: target}; such a token is written as {input→target}:

        [CLS] the {[MASK]→cat} sat on {dog→the} mat [SEP]

    The places of an adapter (objectives/_places.py) are counted: <20 places>.
    """
    predicted = predicted or {}
    shown = tokens.copy()  # without noise, which would hide where words begin
    shown[list(predicted)] = list(predicted.values())
    is_place = tokens < 0
    ids = np.maximum(shown, 0)
    special, starts = tokenizer.special[ids] & ~is_place, tokenizer.word_starts[ids] | is_place
    alone = special.copy()
    alone[list(predicted)] = True
    edges = np.flatnonzero(alone[1:] | alone[:-1] | (is_place[1:] != is_place[:-1])) + 1
    text = ""
    for run in np.split(np.arange(len(tokens)), edges) if len(tokens) else ():
        k = int(run[0])
        if is_place[k]:
            piece = f"<{len(run)} places>"
        elif alone[k]:
            piece = render_token(tokenizer, tokens[k])
        else:
            piece = tokenizer.decode(tokens[run])
        if k in predicted:
            piece = f"{{{piece}→{render_token(tokenizer, predicted[k])}}}"
        if k and (starts[k] or special[k - 1] or is_place[k - 1]) and not piece[:1].isspace():
            text += " "
        text += piece
    return escape_control(text)


def render_token(tokenizer: Tokenizer, token: Any) -> str:
    """One id as text without leading space; spelled out if it is not printable text."""
    text = "" if tokenizer.special[token] else tokenizer.decode([token]).strip()
    return (
        text
        if text.isprintable() and text and "\ufffd" not in text
        else tokenizer.id_to_token(token)
    )


def escape_control(text: str) -> str:
    """Escapes newlines and other control characters as Python does, so that text stays on one line
    and cannot control the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_entry(name: str, text: str) -> list[str]:
    """A named text, wrapped and indented, truncated at MAX_CHARACTERS."""
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]} ... ({len(text) - MAX_CHARACTERS} more characters)"
    lead = f"    {name:<10} "
    below = " " * len(lead)
    return textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=below) or [lead]
