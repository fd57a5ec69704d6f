"""Megatron-Turing NLG, 529,581,506,560 parameters (Smith et al. 2022, section 3).

    python -m pretrain_jax.main --config=configs/mt_nlg_530b.py --config.data.source="text:GLOB"

It trains on 270 B tokens in 71,700 steps. The learning rate warms up over 1 B tokens (1,272 steps)
and follows a cosine to 10 % at 340 B tokens (step 89,500, after the end of the run). The batch
grows from 384 to 1,920 rows of 2,048 tokens over 12 B tokens, by 384 rows every 1,500 steps. The
paper adds 32 rows at a time. That would need 60 compilations, and most of the chips that such a
model needs would have no row at first.
Weights are initialized with N(0, 4e-3), where 4e-3 = sqrt(1 / (3 x 20480)), and residual
projections are scaled down as in GPT-2. The vocabulary (GPT-2's, 50,257 ids) and the optimizer's
numbers come from summaries of the paper.
Not from the paper: documents attend to earlier documents in their row, as in GPT-3.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=DIR uses GPT-2's
encoder.json and vocab.bpe instead.
"""

from ml_collections import ConfigDict

PODS = {"v5p:16x16x24": {"mesh.data": 3, "mesh.tensor": 16}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=2048, cross_documents=True),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=50257,
                layers=105,
                width=20480,
                heads=128,
                feed_forward=81920,
                max_length=2048,
                init_std=4e-3,
                position_std=4e-3,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=5e-5,
                schedule="cosine",
                final=0.1,
                warmup_steps=1272,
                decay_steps=89_500,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(
                steps=71_700,
                batch_size=1920,
                phases=tuple((1500 * k, dict(batch_size=384 * (k + 1))) for k in range(5)),
            ),
        )
    )
