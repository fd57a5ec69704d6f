"""T5 1.1 Base, 247,577,856 parameters (Shazeer 2020; T5's released_checkpoints.md).

    python -m pretrain_jax.main --config=configs/t5_1_1_base.py --config.data.source="text:GLOB"

T5 1.1 differs from T5: it has a gated GELU, a separate output matrix and no dropout, and it was
trained on C4 only. As released, it trains for 1 M steps of 2,048 rows, about 1 T tokens. A row has
512 tokens of corrupted text and 114 targets (spans of 3 tokens, 15 % of the text). The optimizer is
Adafactor at 1 / sqrt(max(step, 10,000)), with the z-loss of google-research/t5x. The vocabulary has
32,100 ids, of which 100 are sentinels. The count includes 28 rows of padding in each of the two
vocabulary matrices. A microbatch has 256 rows.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=FILE.model uses T5's
model of 32,000 pieces instead.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {"train.accumulate": 16}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=512),
            tokenizer=dict(name="sentencepiece", kind="unigram", sentinels=100),
            objective=dict(name="span_corruption"),
            model=dict(
                name="t5_1_1",
                vocab_size=32128,
                layers=12,
                width=768,
                heads=12,
                head_width=64,
                feed_forward=2048,
                dropout=0.0,
            ),
            optimizer=dict(
                name="adafactor",
                learning_rate=1.0,
                schedule="inverse_square_root",
                warmup_steps=10_000,
                decay_rate=0.8,
                clip_threshold=1.0,
                clip_norm=0.0,
            ),
            train=dict(steps=1_000_000, batch_size=2048, accumulate=8, z_loss=1e-4),
        )
    )
