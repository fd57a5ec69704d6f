"""Jurassic-1 Jumbo, 177,951,790,080 parameters (Lieber et al. 2021, sections 2.1 to 2.3, table 1).

    python -m pretrain_jax.main --config=configs/jurassic1_178b.py --config.data.source="text:GLOB"

GPT-3 175B's recipe (gpt3_175b.py) with fewer, wider layers: the same 300 B tokens, steps, warm-up,
cosine and batches. The paper's first batch of 32 k tokens would be 16 rows, its last of 3.2 M
1,562.5 rows.
The paper's "256K" ids are 262,144: only then does the embedding have its 3.6 B parameters (256,000
rows would be 3.54 B, and the model 177,866,855,424).
Departure: pieces of a tokenizer trained here do not cross words; name a model whose pieces do.
Its smaller model: J1-Large = 32 layers x 4096, 32 heads, 7.5 B.
Without --config.data.source it trains on the embedded corpus. --config.tokenizer.path=FILE.model
takes a SentencePiece model; without it, one is trained on the data.
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
