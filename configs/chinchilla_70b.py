"""Chinchilla, 70,063,890,432 parameters (Hoffmann et al. 2022, section 4.1, tables 4 and A9).

    python -m pretrain_jax.main --config=configs/chinchilla_70b.py --config.data.source="text:GLOB"

It trains on 1.4 T tokens in 667,600 steps, with rows of 2,048 tokens. The batch has 768 rows (1.5 M
tokens) and is doubled midway. Here midway means after half of the tokens, at step 445,100.
The published size includes Transformer-XL's projection of the relative positions in each layer. The
formula of table A9 gives 70,062,571,520; the difference is the gains of RMSNorm, which the formula
leaves out.
Not from the paper: betas, weight decay 0.1 and clipping at 1 (all GPT-3's), Gopher's warm-up of
1,500 steps, GPT-2's initialization, and attention within one document. Parameters are float32, as
in the paper. The tokenizer has byte fallback and no NFKC, as in the paper. That it is a unigram
model is our choice.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=FILE.model uses a
SentencePiece model instead.
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
