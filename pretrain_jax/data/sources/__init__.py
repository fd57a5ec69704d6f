"""Where text comes from; every module of this folder is a scheme of `data.source`.

`data.source` is a string, SCHEME or SCHEME:NAME ("stdlib", "text:books/*.txt", "tfds:my_set").
A module offers `find(name, keys) -> Source`.

A source lists shards, each readable without the others. A shard yields its documents in a fixed
order. A document streams its UTF-8 bytes, so that one file of 10 GB never sits in memory.

A source may mark parts of its texts (data/annotations.py): salient spans, or the targets of a pair.
"""

from pretrain_jax.data.sources._base import CHUNK as CHUNK
from pretrain_jax.data.sources._base import Document as Document
from pretrain_jax.data.sources._base import Keys as Keys
from pretrain_jax.data.sources._base import Shard as Shard
from pretrain_jax.data.sources._base import Source as Source
from pretrain_jax.data.sources._base import hash_file as hash_file
from pretrain_jax.data.sources._base import open_source as open_source
from pretrain_jax.data.sources._base import read_chunks as read_chunks
from pretrain_jax.data.sources._base import without_fields as without_fields
