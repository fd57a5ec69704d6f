"""LLaMA 7B, 6,738,415,616 parameters (Touvron et al. 2023, sections 2.1 to 2.3, table 2).

    python -m pretrain_jax.main --config=configs/llama_7b.py --config.data.source="text:GLOB"

It trains on 1.0 T tokens in 238,400 steps of 2,048 x 2,048 tokens (4 M tokens).
Not from the paper: initialization with N(0, 0.02), as in Hugging Face's port, and attention within
one document (data.cross_documents=True attends across documents).
Difference from the paper: a tokenizer trained here does not split numbers into digits, as LLaMA's
does.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=FILE.model uses a
SentencePiece model instead.
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
                layers=32,
                width=4096,
                heads=32,
                feed_forward=11008,
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
