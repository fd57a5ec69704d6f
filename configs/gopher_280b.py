"""Gopher, 279,714,217,984 parameters (Rae et al. 2021, section 3.1, table 1).

    python -m pretrain_jax.main --config=configs/gopher_280b.py --config.data.source="text:GLOB"

It trains on 300 B tokens in 71,500 steps, with rows of 2,048 tokens. The batch has 1,536 rows (3 M
tokens), later 3,072. The paper does not say when the batch doubles; here it doubles after half of
the tokens, at step 47,700.
The published size includes Transformer-XL's projection of the relative positions in each layer. The
formula of Chinchilla's table A9 gives 279,711,580,160; the difference is the gains of RMSNorm,
which the formula leaves out.
Not from the paper: betas (GPT-3's), GPT-2's initialization, float32 parameters, and attention
within one document. The warm-up starts at 4e-5 / 1500, not at 1e-7. Adam has no weight decay.
The tokenizer has byte fallback but no NFKC. That it is a unigram model is our choice.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=FILE.model uses a
SentencePiece model instead.
"""

from ml_collections import ConfigDict

PODS = {"v5p:8x8x8": {"mesh.data": 2}}


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
                width=16384,
                heads=128,
                head_width=128,
                feed_forward=65536,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=4e-5,
                schedule="cosine",
                final=0.1,
                warmup_steps=1500,
                b2=0.95,
                weight_decay=0.0,
                clip_norm=0.25,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(
                steps=71_500,
                batch_size=1536,
                phases=((47_700, dict(batch_size=3072, accumulate=2)),),
            ),
        )
    )
