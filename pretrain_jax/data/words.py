"""Raw examples from records of words with tags, one example per record.

A tag belongs to one token of its word. The end of a text that is too long is cut off, as in BERT.
Words without their token, those that are cut off and those of which the tokenizer makes nothing,
are in no example.
"""

from functools import partial

import numpy as np

from pretrain_jax.data.cache import TokenCache
from pretrain_jax.data.places import find_tokens
from pretrain_jax.data.records import ReadLabels, text_sizes
from pretrain_jax.ragged import Fields, Ragged, RowSplits, gather_slices


class Words:
    """The words of each record of a token cache, with their tags.

    Example k has `length[k]` = (tokens, words): int32 [N, 2]. Its words are those with the numbers
    `words(k)` of its record. `cut` is the number of examples whose texts are truncated.

    tokens        maximum tokens of a text
    last          whether the token of a word is its last; otherwise its first. A token that two
                  words share is that of the first
    read_labels   read_labels(labels as text [N], None for no label) -> the tags of each record as
                  numbers, an empty row without a label. Raises DataError
    """

    def __init__(self, cache: TokenCache, *, tokens: int, last: bool, read_labels: ReadLabels):
        assert cache.places is not None
        self.cache = cache
        self.options = {"tokens": tokens, "last": last, "read_labels": read_labels}
        sizes = text_sizes(cache)[:, 0]
        labels = read_labels(cache.labels)
        self.known = labels.splits.sizes > 0
        words = RowSplits([len(texts) for texts in cache.texts])
        widths = np.array([len(word) for texts in cache.texts for word in texts], np.int64)
        ends = words.cumsum(widths + 1) - 1
        record = words.row_ids
        found = find_tokens(
            cache.places, RowSplits(sizes), np.stack([ends - widths, ends], 1), record
        )
        at = found[:, int(last)]
        offset = at - cache.offsets[record]
        fits = (found[:, 0] <= found[:, 1]) & (offset < tokens)
        _, firsts = np.unique(at[fits], return_index=True)
        read = np.flatnonzero(fits)[firsts]
        self.rows = words.take(read)
        self.number = words.offsets[read]
        self.offset = offset[read].astype(np.int32)
        self.tag = np.zeros(words.total, np.int32)
        self.tag[words.broadcast(self.known)] = labels.values
        self.tag = self.tag[read]
        self.length = np.stack([np.minimum(sizes, tokens), self.rows.sizes], 1).astype(np.int32)
        self.cut = int(np.count_nonzero(sizes > tokens))

    def __len__(self) -> int:
        return len(self.length)

    def words(self, k: int) -> np.ndarray:
        """int64: the numbers of the words of example k in its record, ascending."""
        start = self.rows.starts[k]
        return self.number[start : start + self.rows.sizes[k]]

    def take(self, numbers: np.ndarray) -> Fields:
        """{"tokens": int32, a of each}; and, b of each, {"offset": int32, the token of each word;
        "tag": int32; "known": float32, whether it has a tag}; (a, b) = length[k]."""
        offset, tag = (Ragged(x, self.rows).select(numbers) for x in (self.offset, self.tag))
        known = offset.splits.broadcast(self.known[numbers]).astype(np.float32)
        return {
            "tokens": gather_slices(
                self.cache.tokens, self.cache.offsets[numbers], self.length[numbers, 0]
            ),
            "offset": offset,
            "tag": tag,
            "known": Ragged(known, offset.splits),
        }

    def __reduce__(self):
        """Pickles the options; a worker process finds the words again."""
        return partial(Words, self.cache, **self.options), ()
