"""Sources of text; every module of this folder is a scheme of `data.source`.

`data.source` is a string, SCHEME or SCHEME:NAME ("stdlib", "text:books/*.txt", "tfds:my_set").
A module defines `find(name, keys) -> TextSource`, and `TAKES_NAME`: what follows the colon, in
capitals ("NAME"), or "" for a scheme without a name.

A source is a list of shards that can be read independently. A shard yields its documents in a fixed
order. A document streams its UTF-8 bytes, so a file of 10 GB is never in memory at once.

A source may annotate parts of its texts (data/annotations.py): salient spans, the targets of a
pair, or the texts of a record, which may have a label (_records.py).
"""

from pretrain_jax.data.sources._base import CHUNK as CHUNK
from pretrain_jax.data.sources._base import Columns as Columns
from pretrain_jax.data.sources._base import Document as Document
from pretrain_jax.data.sources._base import Keys as Keys
from pretrain_jax.data.sources._base import Shard as Shard
from pretrain_jax.data.sources._base import TextSource as TextSource
from pretrain_jax.data.sources._base import check_no_fields as check_no_fields
from pretrain_jax.data.sources._base import hash_file as hash_file
from pretrain_jax.data.sources._base import open_source as open_source
from pretrain_jax.data.sources._base import read_chunks as read_chunks
