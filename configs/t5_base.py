"""T5 Base, 222,903,552 parameters (Raffel et al. 2020, sections 2 and 3.7).

    python -m pretrain_jax.main --config=configs/t5_base.py --config.data.source="text:GLOB"

As released, it trains for 1 M steps of 2,048 rows, about 1 T tokens. A row has 512 tokens of
corrupted text and 114 targets (spans of 3 tokens, 15 % of the text). The optimizer is Adafactor at
1 / sqrt(max(step, 10,000)), with dropout 0.1 and the z-loss of google-research/t5x. The vocabulary
has 32,100 ids, of which 100 are sentinels. The count includes 28 rows of padding.
The paper's comparisons start from this model with --config.objective.name=iid_denoising,
--config.train.steps=524_288 and --config.train.batch_size=128 (section 3.1). These are the paper's
other shapes, with the same objective (section 3.2):
    shared encoder-decoder    --config.model.shared=True
    6 layers in each stack    --config.model.layers=6
    language model            --config.model.name=t5_lm --config.objective.inputs=stream
    prefix language model     --config.model.name=t5_lm --config.objective.inputs=prefix
Each shape also trains without noise: --config.objective.name=prefix_lm (the language model:
causal_lm).
Differences from the paper: the released models were also trained on the paper's tasks (section
3.7), this one only on text. The last part of a document is a separate example; T5 joins documents
first. Initialization and dropout are t5x's. A microbatch has 256 rows.
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
                name="t5",
                vocab_size=32128,
                layers=12,
                width=768,
                heads=12,
                head_width=64,
                feed_forward=3072,
                dropout=0.1,
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
