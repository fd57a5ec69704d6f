"""T5 3B, 2,851,598,336 parameters (Raffel et al. 2020, sections 2 and 3.7).

    python -m pretrain_jax.main --config=configs/t5_3b.py --config.data.source="text:GLOB"

As released: 1 M steps of 2,048 rows, each of 512 tokens of corrupted text that give 114 targets
(spans of 3 tokens, 15 % of the text), about 1 T tokens; Adafactor at 1 / sqrt(max(step, 10,000)),
dropout 0.1, and the z-loss of google-research/t5x. The count includes the 28 rows that pad a
vocabulary of 32,100, of which 100 are sentinels.
The attention is 4,096 wide (32 heads of 128), the model 1,024.
Departures: the released models saw the paper's tasks among the text (section 3.7); this is the text
alone. First values are t5x's, as is dropout; a step computes 128 rows at a time.
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
                name="t5",
                vocab_size=32128,
                layers=24,
                width=1024,
                heads=32,
                head_width=128,
                feed_forward=16384,
                dropout=0.1,
                remat="full",
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
            mesh=dict(data=1, fsdp=-1),
            train=dict(steps=1_000_000, batch_size=2048, accumulate=16, z_loss=1e-4),
        )
    )
