"""Tokenizers behind one interface; every module of this folder is a name for `tokenizer.name`.

A module offers two functions; `load` takes those options of `train` that it reads:

    load(path, **options) -> Tokenizer              from a file or a folder on disk
    train(texts, directory, *, vocab_size, **options) -> None
                                                    writes files that load(directory) reads

Keys that mean the same in several tokenizers, described here for the reference of config keys; a
builder's own docstring comes first:

sentinels: number of sentinel ids (<extra_id_0>, <extra_id_1>, ...), which T5's objectives need
lower_case: whether text is lower-cased and stripped of accents, as for BERT's uncased vocabulary
kind: "unigram" or "bpe"
"""

from pretrain_jax.tokenizers._base import NAMED as NAMED
from pretrain_jax.tokenizers._base import Tokenizer as Tokenizer
from pretrain_jax.tokenizers._base import digest as digest
from pretrain_jax.tokenizers._base import read as read
from pretrain_jax.tokenizers._base import sentinel_ids as sentinel_ids
from pretrain_jax.tokenizers._base import table as table
from pretrain_jax.tokenizers._base import take as take
from pretrain_jax.tokenizers._base import well_formed as well_formed
