"""A tokenizer of bytes and a causal `corrupt`, so that the data path is tested on its own."""

import hashlib
import json

import numpy as np

from pretrain_jax.data.cache import TokenCache, open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.examples import DocumentChunks
from pretrain_jax.data.pipeline import MemberRows, Stream
from pretrain_jax.ragged import Ragged, RowSplits
from pretrain_jax.tokenizers import Tokenizer

FIELDS = ("tokens", "targets", "weights")


class ByteTokenizer(Tokenizer):
    """Ids 0 .. 255 are bytes, 256 begins a document and 257 ends it."""

    size = 258
    bos, eos = 256, 257

    def __init__(self, shift: int = 0):
        self.shift = shift
        self.fingerprint = hashlib.sha256(f"bytes {shift}".encode()).hexdigest()

    def encode(self, text):
        data = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        return (data + self.shift) % 256

    def decode(self, ids):
        kept = [(int(i) - self.shift) % 256 for i in ids if i < 256]
        return bytes(kept).decode(errors="replace")

    def id_to_token(self, token):
        return str(token)

    @property
    def word_starts(self):
        return np.ones(self.size, np.bool_)

    @property
    def token_bytes(self):
        return (np.arange(self.size) < 256).astype(np.int32)


def causal(examples, uniform, vocab):
    """Tokens and targets, one apart."""
    texts = examples["tokens"]
    parts = RowSplits(texts.splits.sizes - 1)
    last = texts.splits.broadcast(parts.sizes)
    return {
        "tokens": Ragged(texts.values[texts.splits.offsets < last], parts),
        "targets": Ragged(texts.values[texts.splits.offsets > 0], parts),
        "weights": Ragged(np.ones(parts.total, np.float32), parts),
    }


def causal_lengths(n):
    return {"L": n - 1}


def causal_stream(source, folder, *, seq_len=32, split="auto", **options):
    """A stream of one member over the training half of `source`, and its token cache."""
    tokenizer = ByteTokenizer()
    cache = open_token_cache(open_corpus(source, split=split), "train", tokenizer, folder)
    return Stream([member(cache, seq_len)], FIELDS, {"L": seq_len}, **options), cache


def member(cache, seq_len, corrupt=causal, rate=1.0, copies=0):
    examples = DocumentChunks(cache, raw_length=seq_len + 1, overlap=1, begin=256, end=257)
    return MemberRows.plan(
        examples,
        lengths=causal_lengths,
        budgets={"L": seq_len},
        corrupt=corrupt,
        vocab=ByteTokenizer(),
        rate=rate,
        copies=copies,
    )


def cache_of(tokens, offsets, marks=None, marked=""):
    """A cache of given tokens that lies on no disk."""
    cache = TokenCache.__new__(TokenCache)
    cache.tokens = np.asarray(tokens, np.uint16)
    cache.offsets = np.asarray(offsets, np.int64)
    cache.annotations, cache.annotation_kind = marks, marked
    return cache


def write_lines(path, texts, key="text"):
    path.write_text("".join(json.dumps({key: text}) + "\n" for text in texts))
    return f"text:{path}"
