"""A tiny GPT without dropout: widths, heads and vocabulary divide over two or eight devices."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            seed=0,
            data=dict(source="stdlib", seq_len=16),
            tokenizer=dict(name="bytes"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=200,
                layers=2,
                width=32,
                heads=4,
                feed_forward=64,
                max_length=16,
            ),
            optimizer=dict(name="adamw", learning_rate=3e-3, schedule="constant", warmup_steps=5),
            train=dict(steps=20, batch_size=16, accumulate=2),
        )
    )
