"""ELECTRA-Large, 354,655,291 parameters (Clark et al. 2020, table 6).

    python -m pretrain_jax.main --config=configs/electra_large.py --config.data.source="text:GLOB"

The generator has 51,295,290 of these and the discriminator 335,142,913, both with the embeddings
that they share; the generator, of a quarter of the width, is thrown away in the end. 2,048 rows of
512, 400,000 steps; a quarter of the tokens is masked. A step computes 256 rows at a time; more
devices than that need a smaller train.accumulate.
The released file is another run, of 1.75 M steps.
google-research/electra's optimizer is BERT's, Adam without bias correction.
Departures: an example is one text, not two segments of one; rows hold as many texts as fit; the
decay starts at the end of the warm-up, not at step 0.
Until you name yours (--config.data.source="text:GLOB", --config.tokenizer.path=DIR with BERT's
vocab.txt), the embedded corpus and a tokenizer trained on it stand in.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=512),
            tokenizer=dict(name="wordpiece"),
            objective=dict(name="replaced_token", rate=0.25),
            model=dict(
                name="electra",
                vocab_size=30522,
                layers=24,
                width=1024,
                heads=16,
                feed_forward=4096,
                max_length=512,
                embedding_width=1024,
                generator_fraction=1 / 4,
                dropout=0.1,
                remat="full",
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
            mesh=dict(data=1, fsdp=-1),
            train=dict(steps=400_000, batch_size=2048, accumulate=8),
            checkpoint=dict(every=5000),
            eval=dict(every=5000),
        )
    )
