"""Tokenizers behind one interface; every module of this folder is a name for `tokenizer.name`.

A module offers two functions; `load` takes those options of `train` that it reads:

    load(path, **options) -> Tokenizer              from a file or a folder on disk
    train(texts, directory, *, vocab_size, **options) -> None
                                                    writes files that load(directory) reads
"""

from pretrain_jax.tokenizers._base import NAMED as NAMED
from pretrain_jax.tokenizers._base import Tokenizer as Tokenizer
from pretrain_jax.tokenizers._base import digest as digest
from pretrain_jax.tokenizers._base import read as read
from pretrain_jax.tokenizers._base import sentinel_ids as sentinel_ids
from pretrain_jax.tokenizers._base import table as table
from pretrain_jax.tokenizers._base import take as take
from pretrain_jax.tokenizers._base import well_formed as well_formed
