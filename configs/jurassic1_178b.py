"""Jurassic-1 Jumbo, 177,951,790,080 parameters (Lieber et al. 2021, sections 2.1 to 2.3, table 1).

    python -m pretrain_jax.main --config=configs/jurassic1_178b.py --config.data.source="text:GLOB"

GPT-3 175B's recipe with fewer, wider layers: 300 B tokens in 103,500 steps, warm-up over 375 M
tokens (715 steps), cosine to 10 % at 260 B (step 90,800), batches from 256 rows (0.5 M tokens; the
paper's 32 k would be 16) to 1,536 (3.1 M; 3.2 M would be 1,562.5 rows), 12.1 B tokens in all.
The paper's "256K" ids are 262,144: only then does the embedding hold its 3.6 B parameters (256,000
rows would be 3.54 B, and the model 177,866,855,424).
Departure: pieces of a tokenizer trained here do not cross words; name a model whose pieces do.
Its smaller one: J1-Large = 32 layers x 4096, 32 heads, 7.5 B.
Until you name yours (--config.data.source="text:GLOB", --config.tokenizer.path=FILE.model), the
embedded corpus and a tokenizer trained on it stand in.
"""

from ml_collections import ConfigDict

PODS = {"v5p:8x16x16": {"mesh.tensor": 8}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=2048, cross_documents=True),
            tokenizer=dict(name="sentencepiece", kind="unigram"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=262_144,
                layers=76,
                width=13824,
                heads=96,
                feed_forward=55296,
                max_length=2048,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=0.6e-4,
                schedule="cosine",
                final=0.1,
                warmup_steps=715,
                decay_steps=90_800,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(
                steps=103_500,
                batch_size=1536,
                phases=(
                    (0, dict(batch_size=256)),
                    (5000, dict(batch_size=512)),
                    (10_000, dict(batch_size=1024)),
                    (12_000, dict(batch_size=1536)),
                ),
            ),
        )
    )
