"""RoBERTa-Base, 124,696,665 parameters (Liu et al. 2019, table 9; fairseq examples/roberta).

    python -m pretrain_jax.main --config=configs/roberta_base.py --config.data.source="text:GLOB"

There are no segment types, as in the paper. Ports keep one row of zeros for them (model.types=1
gives 124,697,433 parameters). Masks are drawn again in every epoch. As in fairseq, weight decay
applies to every parameter, and there is no clipping. A batch of 8,192 rows has microbatches of 256
rows; more than 256 devices need a smaller train.accumulate. fairseq's example recipe differs (2,048
rows, a learning rate of 5e-4, 125,000 steps).
Difference from the paper: the paper fills a row with full sentences across document boundaries,
with one separator. Here a row holds pieces of documents that attend to each other, each between <s>
and </s>.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=DIR uses GPT-2's
encoder.json and vocab.bpe with fairseq's dict.txt instead.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=512, cross_documents=True),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="masked_lm"),
            model=dict(
                name="roberta",
                vocab_size=50265,
                layers=12,
                width=768,
                heads=12,
                feed_forward=3072,
                max_length=512,
                dropout=0.1,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=6e-4,
                schedule="linear",
                warmup_steps=24_000,
                b2=0.98,
                eps=1e-6,
                weight_decay=0.01,
                no_decay=(),
                clip_norm=0.0,
            ),
            train=dict(steps=500_000, batch_size=8192, accumulate=32),
            checkpoint=dict(every=5000),
            eval=dict(every=5000),
        )
    )
