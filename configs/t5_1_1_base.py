"""T5 1.1 Base, 247,577,856 parameters (Shazeer 2020; T5's released_checkpoints.md).

    python -m pretrain_jax.main --config=configs/t5_1_1_base.py --config.data.source="text:GLOB"

T5 with a gated GELU and a separate output matrix, without dropout, trained on C4 only. As released:
1 M steps of 2,048 rows, each of 512 tokens of corrupted text and 114 targets (spans of 3 tokens,
15 % of the text), about 1 T tokens; Adafactor at 1 / sqrt(max(step, 10,000)) and the z-loss of
google-research/t5x. The count includes the 28 rows, in each of two matrices, that pad a vocabulary
of 32,100, of which 100 are sentinels. A step computes 256 rows at a time.
Without --config.data.source it trains on the embedded corpus. --config.tokenizer.path=FILE.model
takes T5's model of 32,000 pieces; without it, one is trained on the data.
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
