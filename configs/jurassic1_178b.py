"""Jurassic-1 Jumbo, 177,951,790,080 parameters (Lieber et al. 2021, sections 2.1 to 2.3, table 1).

    python -m pretrain_jax.main --config=configs/jurassic1_178b.py --config.data.source="text:GLOB"

It uses GPT-3 175B's recipe (gpt3_175b.py) with fewer, wider layers: the same 300 B tokens, steps,
warm-up, cosine and batches. The paper's first batch of 32 k tokens would be 16 rows; its last batch
of 3.2 M tokens would be 1,562.5 rows.
The paper's "256K" ids are 262,144: with this number the embedding has 3.6 B parameters, as in the
paper. With 256,000 ids it would have 3.54 B, and the model 177,866,855,424.
Difference from the paper: the pieces of a tokenizer trained here do not cross word boundaries. To
use pieces that do, set --config.tokenizer.path to a SentencePiece model that has them.
The paper's smaller model, J1-Large, has 32 layers of width 4096, 32 heads and 7.5 B parameters.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=FILE.model uses a
SentencePiece model instead.
"""

import gpt3_175b
from ml_collections import ConfigDict

PODS = {"v5p:8x16x16": {"mesh.tensor": 8}}


def get_config() -> ConfigDict:
    config = gpt3_175b.get_config()
    config.update(
        tokenizer=dict(name="sentencepiece", kind="unigram"),
        model=dict(vocab_size=262_144, layers=76, width=13824, heads=96, feed_forward=55296),
    )
    return config
