"""ELECTRA-Base, 119,386,427 parameters (Clark et al. 2020, table 6).

    python -m pretrain_jax.main --config=configs/electra_base.py --config.data.source="text:GLOB"

The generator has 33,740,602 of these parameters and the discriminator 109,483,009; both counts
include the shared embeddings. The generator has a third of the discriminator's width and is not
used after pretraining. Training has 766,000 steps of 256 rows of 512 tokens. The released "Base++"
comes from another run.
The optimizer is BERT's: Adam without bias correction, as in google-research/electra.
Differences from the paper: an example is one text, not two segments. A row holds as many texts as
fit. The decay starts after the warm-up, not at step 0.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=DIR uses BERT's vocab.txt
instead.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=512),
            tokenizer=dict(name="wordpiece"),
            objective=dict(name="replaced_token"),
            model=dict(
                name="electra",
                vocab_size=30522,
                layers=12,
                width=768,
                heads=12,
                feed_forward=3072,
                max_length=512,
                embedding_width=768,
                generator_fraction=1 / 3,
                dropout=0.1,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=2e-4,
                schedule="linear",
                warmup_steps=10_000,
                b2=0.999,
                eps=1e-6,
                weight_decay=0.01,
                bias_correction=False,
                clip_norm=1.0,
            ),
            train=dict(steps=766_000, batch_size=256),
            checkpoint=dict(every=5000),
            eval=dict(every=5000),
        )
    )
