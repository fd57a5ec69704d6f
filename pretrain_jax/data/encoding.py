"""Tokenizing the blocks of documents, in threads."""

import collections
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from pretrain_jax import switches
from pretrain_jax.data import annotations
from pretrain_jax.data.corpus import BLOCK_CHARACTERS
from pretrain_jax.data.unknown_counts import SAMPLE, UnknownCounts
from pretrain_jax.tokenizers import Tokenizer


class EncodedGroup(NamedTuple):
    """Tokenized blocks of consecutive documents."""

    documents: list[int]
    """The document of each block."""
    counts: list[int]
    """Tokens of each block."""
    ids: np.ndarray
    """int [sum of counts]: the ids of all blocks, concatenated."""
    annotations: np.ndarray
    """uint8, like ids; empty without annotations."""
    places: np.ndarray
    """uint32 [sum of counts, 2]: the characters of each token; [0, 2] without places."""
    text_bytes: int
    unknown: UnknownCounts


class TextBlock(NamedTuple):
    """A block of a document, the unit of tokenization."""

    document: int
    text: str
    before: str
    """The character before the block; "" at the start of a text."""


def encode_blocks(
    documents: Iterator[Iterator[str]], tokenizer: Tokenizer, kind: str, has_places: bool
) -> Iterator[EncodedGroup]:
    """Tokenizes all blocks in threads (tokenizers release the GIL) and keeps their order.

    The number of pending groups is limited; it is just enough to keep all threads busy.

    kind: of the annotations (data/annotations.py). has_places: whether to find the characters of
    each token; then each document is one block.
    """
    workers = os.cpu_count() or 1
    waiting: collections.deque[Future[EncodedGroup]] = collections.deque()
    characters = 0
    with ThreadPoolExecutor(workers) as pool:
        for group in group_blocks(documents, kind):
            how = (tokenizer, kind, has_places, characters < SAMPLE)
            waiting.append(pool.submit(encode_group, group, *how))
            characters += sum(len(item.text) for item in group)
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def encode_group(
    group: list[TextBlock], tokenizer: Tokenizer, kind: str, has_places: bool, sampled: bool
) -> EncodedGroup:
    documents, texts, before = zip(*group, strict=True)
    values, places = [np.empty(0, np.uint8)], [np.empty((0, 2), np.uint32)]
    if has_places:
        encoded = [annotations.encode_with_places(text, tokenizer) for text in texts]
        ids, values, places = zip(*encoded, strict=True)
        texts = [switches.strip_switches(text) for text in texts]
    elif kind:
        encoded = [
            annotations.encode_annotated(text, tokenizer, kind, character)
            for text, character in zip(texts, before, strict=True)
        ]
        ids, values = zip(*encoded, strict=True)
        texts = [switches.strip_switches(text) for text in texts]
    else:
        ids = list(map(tokenizer.encode_after, texts, before))
    size = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    counts = list(map(len, ids))
    all_ids = np.concatenate(ids)
    unknown = UnknownCounts(len(all_ids), int(np.count_nonzero(all_ids == tokenizer.unk)))
    if sampled:
        lost = sum(map(tokenizer.unknown_bytes, texts)) if unknown.tokens_unknown else 0
        unknown += UnknownCounts(bytes=size, bytes_unknown=lost)
    marks, all_places = np.concatenate(values), np.concatenate(places)
    return EncodedGroup(list(documents), counts, all_ids, marks, all_places, size, unknown)


def carry_annotation(texts: Iterator[str]) -> Iterator[str]:
    """The blocks of a document, each starting with a switch to its first annotation."""
    mark = 0
    for text in texts:
        yield switches.SWITCH[mark] + text
        mark = switches.final_annotation(text, mark)


def group_blocks(documents: Iterator[Iterator[str]], kind: str) -> Iterator[list[TextBlock]]:
    """All blocks, in groups large enough to be worth a thread."""
    group, size = [], 0
    for number, blocks in enumerate(documents):
        before = ""
        for block in carry_annotation(blocks) if kind else blocks:
            group.append(TextBlock(number, block, before))
            before = annotations.context_of_next(block, kind) if kind else block[-1:]
            size += len(block)
            if size >= BLOCK_CHARACTERS:
                yield group
                group, size = [], 0
    if group:
        yield group
