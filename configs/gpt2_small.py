"""GPT-2 small, 124,439,808 parameters (Radford et al. 2019, section 2.3 and table 2).

    python -m pretrain_jax.main --config=configs/gpt2_small.py --config.data.source="text:GLOB"

The paper prints 117M, which is a miscount according to openai/gpt-2's README. The paper gives the
batch, 512 x 1024, but no learning rate, number of steps or mask between documents. These come from
nanoGPT (config/train_gpt2.py): 600,000 steps, a warm-up of 2,000 steps, weight decay 0.1 and no
dropout; documents attend to earlier documents in their row. The peak learning rate is nanoGPT's for
this size.
Residual projections are initialized with 0.02 / sqrt(2 x layers), the paper's 1/sqrt(N). The
released code is for inference and uses 0.02. A microbatch has 64 rows; fewer devices may need a
larger train.accumulate.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=DIR uses GPT-2's
encoder.json and vocab.bpe instead.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=1024, cross_documents=True),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=50257,
                layers=12,
                width=768,
                heads=12,
                feed_forward=3072,
                max_length=1024,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=6e-4,
                schedule="cosine",
                final=0.1,
                warmup_steps=2000,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            train=dict(steps=600_000, batch_size=512, accumulate=8),
        )
    )
