"""BERT-Base, 110,106,428 parameters (Devlin et al. 2019, section 3 and appendix A.2).

    python -m pretrain_jax.main --config=configs/bert_base.py --config.data.source="text:GLOB"

Without the two pretraining heads there are 109,482,240 parameters ("body" in the output of
describe, including the pooler); the paper prints 110M. A step has 256 rows. Of a million steps,
90 % use rows of length 128, the rest rows of length 512.
As in google-research/bert's create_pretraining_data.py, masks are drawn for ten copies of the data,
which then repeat, and one pair in ten is cut to a shorter length. As in optimization.py there, Adam
has no bias correction.
Differences from BERT: a row holds as many pairs as fit, not one. All copies have the same pairs;
BERT draws new pairs for each copy. The decay starts after the warm-up; in the released code it
starts at step 0, which makes the learning rate 1 % lower.
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
            objective=dict(name="next_sentence", copies=10, short=0.1),
            model=dict(
                name="bert",
                vocab_size=30522,
                layers=12,
                width=768,
                heads=12,
                feed_forward=3072,
                max_length=512,
                dropout=0.1,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=1e-4,
                schedule="linear",
                warmup_steps=10_000,
                b2=0.999,
                eps=1e-6,
                weight_decay=0.01,
                bias_correction=False,
                clip_norm=1.0,
            ),
            train=dict(
                steps=1_000_000,
                batch_size=256,
                phases=((0, dict(seq_len=128)), (900_000, dict(seq_len=512))),
            ),
            checkpoint=dict(every=5000),
            eval=dict(every=5000),
        )
    )
