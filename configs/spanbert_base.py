"""SpanBERT-Base, 110,300,480 parameters (Joshi et al. 2020, sections 3 and 4.2).

    python -m pretrain_jax.main --config=configs/spanbert_base.py --config.data.source="text:GLOB"

107,719,680 of these are the body (no pooler, since there is no next sentence); the rest are the
heads of masked language modeling and of the span boundary (15 positions). BERT's block with a cased
vocabulary. Texts of up to 512 tokens that end with their document, 256 rows per step, 2.4 M steps.
The paper decays by 0.1, the command of facebookresearch/SpanBERT by 0.01, which is used here; it
decays every parameter.
The paper trains only the large model; its repository also has this one, with the same recipe.
Departures: a row holds as many texts as fit; the initialization is a truncated normal, as BERT's.
Without --config.data.source it trains on the embedded corpus. --config.tokenizer.path=DIR takes
BERT-cased's vocab.txt; without it, a tokenizer is trained on the data.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=512),
            tokenizer=dict(name="wordpiece", lower_case=False),
            objective=dict(name="span_boundary"),
            model=dict(
                name="bert",
                vocab_size=28996,
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
                eps=1e-8,
                weight_decay=0.01,
                no_decay=(),
                clip_norm=1.0,
            ),
            train=dict(steps=2_400_000, batch_size=256),
            checkpoint=dict(every=5000),
            eval=dict(every=5000),
        )
    )
