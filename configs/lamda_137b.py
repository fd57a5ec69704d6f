"""LaMDA, 137,702,158,336 parameters (Thoppilan et al. 2022, section 3, table 27).

    python -m pretrain_jax.main --config=configs/lamda_137b.py --config.data.source="text:GLOB"

It trains for 3 M steps of 256 k tokens. The paper's 137 B exclude the embedding: without it, this
model has 137,440,014,336 parameters.
The attention is 16384 wide (128 heads of width 128), twice as wide as the model.
The paper does not say which norm, weight tying, biases and context length it uses. Our choices:
RMSNorm with gains, no biases and one table of position biases as in T5 1.1, an output projection
tied to the embedding, a context of 2,048 tokens (so 128 rows per batch), initialization with N(0,
0.02), attention within one document, and GPT-3 175B's optimizer with a warm-up of 2,000 steps.
The paper's smaller models: 2B has 10 layers of width 2560 and 40 heads; 8B has 16 layers of width
4096 and 64 heads.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=FILE.model uses a
SentencePiece model instead.
"""

from ml_collections import ConfigDict

PODS = {"v5p:4x4x8": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=2048),
            tokenizer=dict(name="sentencepiece", kind="bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="lamda",
                vocab_size=32000,
                layers=64,
                width=8192,
                heads=128,
                head_width=128,
                feed_forward=65536,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=0.6e-4,
                schedule="cosine",
                final=0.1,
                warmup_steps=2000,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(steps=3_000_000, batch_size=128),
        )
    )
