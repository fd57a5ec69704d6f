"""BERT with 1,107,714 parameters, on the source code of Python's standard library.

    python -m pretrain_jax.main --config=configs/bert_nano.py

It learns masked tokens and next sentences in 800 steps of 16 x 128 tokens.
On two busy cores, with an earlier corpus that included generated tables, it took 3 min 48 s in
total. It reached a valid/loss of 5.49 (the unigram baseline: 6.28) and a next-sentence accuracy of
75 % (docs/families.md).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            seed=0,
            data=dict(source="stdlib", seq_len=128),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="next_sentence"),
            model=dict(
                name="bert",
                vocab_size=2048,
                layers=4,
                width=128,
                heads=4,
                feed_forward=512,
                max_length=128,
                dropout=0.0,
                unroll=4,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=1e-3,
                schedule="linear",
                warmup_steps=100,
                b2=0.98,
                weight_decay=0.01,
            ),
            train=dict(steps=800, batch_size=16),
            checkpoint=dict(every=200),
            eval=dict(every=200, tokens=16384, pseudo_tokens=512),
        )
    )
