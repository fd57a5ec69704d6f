"""TODO

python -m pretrain_jax.main --config=configs/t5_nano.py
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            seed=0,
            data=dict(source="stdlib", seq_len=128),
            tokenizer=dict(name="byte_bpe", sentinels=32),
            objective=dict(name="span_corruption"),
            model=dict(
                name="t5",
                vocab_size=2048,
                layers=3,
                width=128,
                heads=4,
                head_width=32,
                feed_forward=512,
                dropout=0.0,
                unroll=3,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=2e-3,
                schedule="linear",
                warmup_steps=100,
                b2=0.98,
                weight_decay=0.01,
            ),
            train=dict(steps=1000, batch_size=16),
            checkpoint=dict(every=250),
            eval=dict(every=250, tokens=16384),
        )
    )
