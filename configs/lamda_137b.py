"""LaMDA, 137,702,158,336 parameters (Thoppilan et al. 2022, section 3, table 27).

    python -m pretrain_jax.main --config=configs/lamda_137b.py --config.data.source="text:GLOB"

3 M steps of 256 k tokens. The paper's 137 B exclude the embedding: 137,440,014,336 without it.
The attention is 16384 wide (128 heads of 128), twice the model.
The paper gives no norm, tying, biases or context length. The choices here: RMSNorm with gains, no
biases and one table of position biases as in T5 1.1, the embedding as the output, a context of
2,048 (so 128 rows per batch), N(0, 0.02), attention within one document, and GPT-3 175B's
optimizer with a warm-up of 2,000 steps.
Its smaller models: 2B = 10 layers x 2560 with 40 heads, 8B = 16 x 4096 with 64.
Without --config.data.source it trains on the embedded corpus. --config.tokenizer.path=FILE.model
takes a SentencePiece model; without it, one is trained on the data.
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
