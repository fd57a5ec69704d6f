"""A prefix LM with 1,071,872 parameters, on the source code of Python's standard library.

    python -m pretrain_jax.main --config=configs/prefix_lm_nano.py

It has one stack of GPT-2's blocks. Attention is bidirectional within the beginning of a text, and
the model predicts the end. It trains for 600 steps of 16 x 128 tokens.
On two busy cores, with an earlier corpus that included generated tables, it took 2 min 47 s in
total and reached a valid/loss of 3.64 (the unigram baseline: 6.27; docs/families.md).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            seed=0,
            data=dict(source="stdlib", seq_len=128),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="prefix_lm", inputs="prefix"),
            model=dict(
                name="gpt",
                vocab_size=2048,
                layers=4,
                width=128,
                heads=4,
                feed_forward=512,
                max_length=128,
                unroll=4,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=3e-3,
                schedule="linear",
                warmup_steps=100,
                b2=0.98,
                weight_decay=0.01,
            ),
            train=dict(steps=600, batch_size=16),
            checkpoint=dict(every=200),
            eval=dict(every=200, tokens=16384),
        )
    )
