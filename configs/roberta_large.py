"""RoBERTa-Large, 355,411,033 parameters (Liu et al. 2019, table 9; fairseq examples/roberta).

    python -m pretrain_jax.main --config=configs/roberta_large.py --config.data.source="text:GLOB"

Without segment types, as in the paper; ports keep one row of zeros for them (model.types=1, which
makes 355,412,057). Masks are drawn afresh in every epoch; weight decay acts on every parameter, as
in fairseq; no clipping. 8,192 rows a step are computed 256 at a time; more devices than that need a
smaller train.accumulate. fairseq's example recipe (2,048 rows, 5e-4, 125,000 steps) is another.
Departures: the paper fills a row with full sentences that run on over the end of a document, with
one separator; here a row holds pieces of documents that see one another, each between <s> and </s>.
Until you name yours (--config.data.source="text:GLOB", --config.tokenizer.path=DIR with GPT-2's
encoder.json and vocab.bpe and fairseq's dict.txt), the embedded corpus and a tokenizer trained on
it stand in.
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
                layers=24,
                width=1024,
                heads=16,
                feed_forward=4096,
                max_length=512,
                dropout=0.1,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=4e-4,
                schedule="linear",
                warmup_steps=30_000,
                b2=0.98,
                eps=1e-6,
                weight_decay=0.01,
                no_decay=(),
                clip_norm=0.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(steps=500_000, batch_size=8192, accumulate=32),
            checkpoint=dict(every=5000),
            eval=dict(every=5000),
        )
    )
