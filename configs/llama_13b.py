"""LLaMA 13B, 13,015,864,320 parameters (Touvron et al. 2023, sections 2.1 to 2.3, table 2).

    python -m pretrain_jax.main --config=configs/llama_13b.py --config.data.source="text:GLOB"

1.0 T tokens in 238,400 steps of 2,048 x 2,048 (4 M tokens).
Not from the paper: N(0, 0.02), which Hugging Face's port uses, and attention that stays inside a
document (data.cross_documents=True lets it run on).
Departure: a tokenizer trained here does not split numbers into digits as LLaMA's does.
Until you name yours (--config.data.source="text:GLOB", --config.tokenizer.path=FILE.model), the
embedded corpus and a tokenizer trained on it stand in.
"""

from ml_collections import ConfigDict

PODS = {"v5p:4x8x8": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=2048),
            tokenizer=dict(name="sentencepiece", kind="bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="llama",
                vocab_size=32000,
                layers=40,
                width=5120,
                heads=40,
                feed_forward=13824,
                norm_epsilon=1e-6,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=3e-4,
                schedule="cosine",
                final=0.1,
                warmup_steps=2000,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(steps=238_400, batch_size=2048),
        )
    )
