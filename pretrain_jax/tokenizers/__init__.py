"""Tokenizers with one interface; every module of this folder is a choice for `tokenizer.name`.

A module defines two functions; the options of `load` are a subset of those of `train`:

    load(path, **options) -> Tokenizer              from a file or folder
    train(texts, directory, *, vocab_size, **options) -> None
                                                    writes the files that load(directory) reads

The last ids are the sentinels, in reverse order, as in T5 (`sentinel_ids`); only added special ids
follow. `load` raises DataError for a file that it cannot use.

Keys that mean the same in several tokenizers, described here for the reference of config keys; a
builder's own docstring comes first:

sentinels: number of sentinel ids (<extra_id_0>, <extra_id_1>, ...), which T5's objectives need
added: names of special ids that the published vocabulary of tokenizer.path lacks, out of "pad",
    "bos", "eos", "mask", "cls" and "sep"; they get ids after all others, in this order: with
    ("cls", "sep"), GPT-2's 50257 ids become 50259
lower_case: whether text is lower-cased and stripped of accents, as for BERT's uncased vocabulary
kind: "unigram" or "bpe"
"""

from pretrain_jax.tokenizers._base import SPECIAL_NAMES as SPECIAL_NAMES
from pretrain_jax.tokenizers._base import Tokenizer as Tokenizer
from pretrain_jax.tokenizers._base import fingerprint_of as fingerprint_of
from pretrain_jax.tokenizers._base import limit_characters as limit_characters
from pretrain_jax.tokenizers._base import read_only_array as read_only_array
from pretrain_jax.tokenizers._base import read_vocabulary_file as read_vocabulary_file
from pretrain_jax.tokenizers._base import replace_surrogates as replace_surrogates
from pretrain_jax.tokenizers._base import sentinel_ids as sentinel_ids
