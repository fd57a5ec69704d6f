"""Chinchilla, 70,063,890,432 parameters (Hoffmann et al. 2022, section 4.1, tables 4 and A9).

    python -m pretrain_jax.main --config=configs/chinchilla_70b.py --config.data.source="text:GLOB"

1.4 T tokens in 667,600 steps of 2,048 tokens per row: 768 rows (1.5 M tokens), doubled midway. Here
midway means half of the tokens, after 445,100 steps.
The published size needs Transformer-XL's projection of the relative positions in each layer. Table
A9's own formula gives 70,062,571,520; the difference is RMSNorm's gains, which it leaves out.
Not from the paper: betas, decay 0.1 and clipping at 1 (GPT-3's), Gopher's warm-up of 1,500 steps,
GPT-2's initialization, and attention within one document. Parameters are float32, as in the paper.
The tokenizer has byte fallback and no NFKC, as in the paper; the unigram model is our choice.
Without --config.data.source it trains on the embedded corpus. --config.tokenizer.path=FILE.model
takes a SentencePiece model; without it, one is trained on the data.
"""

from ml_collections import ConfigDict

PODS = {"v5p:4x8x8": {"mesh.data": 4}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=2048),
            tokenizer=dict(name="sentencepiece", kind="unigram", lossless=True),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gopher",
                vocab_size=32000,
                layers=80,
                width=8192,
                heads=64,
                head_width=128,
                feed_forward=32768,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=1e-4,
                schedule="cosine",
                final=0.1,
                warmup_steps=1500,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(steps=667_600, batch_size=768, phases=((445_100, dict(batch_size=1536)),)),
        )
    )
