"""The original Transformer, 63,045,632 parameters (Vaswani et al. 2017, section 5, table 3).

    python -m pretrain_jax.main --config=configs/transformer_base.py

It translates. The data file pairs.jsonl has lines of {"source": "That is good.", "target": "Das ist
gut."}; --config.data.source="text:GLOB" names other files. The package has no corpus of pairs.
It trains for 100,000 steps of 24,576 source tokens and 24,576 target tokens (the paper: 25,000).
Pairs are packed into rows of 256 tokens, and longer texts are cut. Adam's learning rate rises for
4,000 steps to D^-0.5 / sqrt(4,000), then falls with 1 / sqrt(step). Dropout is 0.1.
The paper prints 65 M, which would need a vocabulary of about 40,800 ids.
Differences from the paper: there is no label smoothing (the paper: 0.1) and no average of the last
checkpoints. The vocabulary is SentencePiece's byte-pair encoding over both languages, with 37,000
ids; the paper says "about 37000".
"""

from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(
                source="text:pairs.jsonl", text_key="source", target_key="target", seq_len=256
            ),
            tokenizer=dict(name="sentencepiece", kind="bpe"),
            objective=dict(name="text_to_text", targets_length=256),
            model=dict(
                name="transformer",
                vocab_size=37000,
                layers=6,
                width=512,
                heads=8,
                feed_forward=2048,
                dropout=0.1,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=512**-0.5,
                schedule="inverse_square_root",
                ramp=True,
                warmup_steps=4000,
                b2=0.98,
                eps=1e-9,
                weight_decay=0.0,
                clip_norm=0.0,
            ),
            train=dict(steps=100_000, batch_size=96),
        )
    )
