"""GPT-1, 116,534,784 parameters (Radford et al. 2018, section 4.1; openai/finetune-transformer-lm).

    python -m pretrain_jax.main --config=configs/gpt1.py --config.data.source="text:books/*.txt"

It trains for 100 epochs, with steps of 64 x 512 tokens. The paper counts epochs of BooksCorpus but
does not give the number of tokens. At one token per word, 100 epochs of its 985 M words (Zhu et al.
2015, table 2) are 3,000,000 steps. For another corpus, set train.steps = 100 x tokens / 32,768.

Differences from the paper: the tokenizer is byte-level BPE with the same number of ids (40,478),
not BPE over lower-cased text that is split into words. Clipping at 1 comes from the released
finetuning code; the paper gives no clipping for pretraining.
By default, the text is the source code of Python's standard library; --config.data.source names
another text.
"""

from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=512),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt1",
                vocab_size=40478,
                layers=12,
                width=768,
                heads=12,
                feed_forward=3072,
                max_length=512,
                dropout=0.1,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=2.5e-4,
                schedule="cosine",
                final=0.0,
                warmup_steps=2000,
                b2=0.999,
                weight_decay=0.01,
                clip_norm=1.0,
            ),
            train=dict(steps=3_000_000, batch_size=64),
            checkpoint=dict(every=5000),
            eval=dict(every=5000),
        )
    )
