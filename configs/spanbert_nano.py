"""SpanBERT with 1,171,512 parameters, on the source code of Python's standard library.

    python -m pretrain_jax.main --config=configs/spanbert_nano.py

It learns masked spans, which it also predicts from the two ends of each span, in 800 steps of
16 x 128 tokens.
On two busy cores, with an earlier corpus that included generated tables, it took 4 min 14 s in
total and reached a valid/loss of 5.44 (the unigram baseline: 6.30; docs/families.md).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            seed=0,
            data=dict(source="stdlib", seq_len=128),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="span_boundary"),
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
