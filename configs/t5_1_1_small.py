"""T5 1.1 Small, 76,961,152 parameters (Shazeer 2020; T5's released_checkpoints.md).

    python -m pretrain_jax.main --config=configs/t5_1_1_small.py --config.data.source="text:GLOB"

T5 with a gated GELU and an output of its own, without dropout in pretraining, and trained on C4
alone. As released: 1 M steps of 2,048 rows, each of 512 tokens of corrupted text that give 114
targets (spans of 3 tokens, 15 % of the text), about 1 T tokens; Adafactor at
1 / sqrt(max(step, 10,000)) and the z-loss of google-research/t5x. The count includes the 28 rows,
in each of two matrices, that pad a vocabulary of 32,100, of which 100 are sentinels.
The attention is 384 wide (6 heads of 64), the model 512.
A step computes 512 rows at a time.
Until you name yours (--config.data.source="text:GLOB", --config.tokenizer.path=FILE.model, T5's of
32,000 pieces), the embedded corpus and a tokenizer trained on it stand in.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=512),
            tokenizer=dict(name="sentencepiece", kind="unigram", sentinels=100),
            objective=dict(name="span_corruption"),
            model=dict(
                name="t5_1_1",
                vocab_size=32128,
                layers=8,
                width=512,
                heads=6,
                head_width=64,
                feed_forward=1024,
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
            train=dict(steps=1_000_000, batch_size=2048, accumulate=4, z_loss=1e-4),
        )
    )
