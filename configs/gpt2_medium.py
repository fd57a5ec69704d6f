"""GPT-2 medium, 354,823,168 parameters (Radford et al. 2019, section 2.3 and table 2).

    python -m pretrain_jax.main --config=configs/gpt2_medium.py --config.data.source="text:GLOB"

The paper prints 345M: a miscount, as openai/gpt-2's README says. It gives the batch, 512 x 1024,
but no learning rate, no length of training and no mask between documents. Those here are nanoGPT's
config/train_gpt2.py: 600,000 steps, a warm-up of 2,000, decay 0.1, no dropout, documents that see
those before them in a row; the peak is that of GPT-3 "Medium".
Residual projections start at 0.02 / sqrt(2 x 24), the paper's 1/sqrt(N); the released code, made
for inference, has plain 0.02. A step computes 64 rows at a time; fewer devices may need a larger
train.accumulate.
Until you name yours (--config.data.source="text:GLOB", --config.tokenizer.path=DIR with GPT-2's
encoder.json and vocab.bpe), the embedded corpus and a tokenizer trained on it stand in.
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
                layers=24,
                width=1024,
                heads=16,
                feed_forward=4096,
                max_length=1024,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=3e-4,
                schedule="cosine",
                final=0.1,
                warmup_steps=2000,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(steps=600_000, batch_size=512, accumulate=8),
        )
    )
