"""BERT-Base, 110,106,428 parameters (Devlin et al. 2019, section 3 and appendix A.2).

    python -m pretrain_jax.main --config=configs/bert_base.py --config.data.source="text:GLOB"

109,482,240 without the two pretraining heads (describe's "body", with the pooler); the paper prints
110M. 256 rows per step for a million steps, 90 % of them at length 128, the rest at 512.
As in google-research/bert's create_pretraining_data.py, masks are drawn for ten copies of the data,
which then repeat, and one pair in ten is cut short. As in its optimization.py, Adam has no bias
correction.
Departures: a row holds as many pairs as fit, BERT's holds one; the pairs are the same in every
copy, BERT draws new ones; the decay starts after the warm-up, the released one at step 0, which
makes its rate 1 % lower.
Without --config.data.source it trains on the embedded corpus. --config.tokenizer.path=DIR takes
BERT's vocab.txt; without it, a tokenizer is trained on the data.
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
