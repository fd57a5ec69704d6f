"""SpanBERT-Base, 110,300,480 parameters (Joshi et al. 2020, sections 3 and 4.2).

    python -m pretrain_jax.main --config=configs/spanbert_base.py --config.data.source="text:GLOB"

The body has 107,719,680 of these parameters (no pooler, because there is no next-sentence
objective). The rest are the heads of masked language modeling and of the span boundary objective
(15 positions). The blocks are BERT's, with a cased vocabulary. Training has 2.4 M steps of 256
rows; a text has up to 512 tokens and does not cross documents. The weight decay is 0.01 for every
parameter, as in the command of facebookresearch/SpanBERT; the paper has 0.1.
The paper trains only the large model. Its repository also has this size, with the same recipe.
Differences from the paper: a row holds as many texts as fit. The initialization is a truncated
normal, as in BERT.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=DIR uses BERT-cased's
vocab.txt instead.
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
