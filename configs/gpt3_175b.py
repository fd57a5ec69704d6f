"""GPT-3 175B, 174,604,259,328 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_175b.py --config.data.source="text:GLOB"

300 B tokens in 103,500 steps: warm-up over 375 M tokens (715 steps), cosine to 10 % at 260 B
(step 90,800), then flat. Documents are packed with an end token and no mask between them.
The batch grows from 256 rows (0.5 M tokens) by 512 and 1,024 to 1,536 rows of 2,048 (3.1 M tokens;
the paper's 3.2 M would be 1,562.5 rows) at steps 5,000, 10,000 and 12,000, 12.1 B tokens in all.
The paper grows it in a straight line over 4 to 12 B tokens from 16 rows, which would leave most of
the chips that such a model needs without one, and counts schedules in tokens.
Departures: every layer's attention is dense (the paper alternates it with a banded one, of a
bandwidth it does not give); initialisation as GPT-2's.
Until you name yours (--config.data.source="text:GLOB", --config.tokenizer.path=DIR with GPT-2's
encoder.json and vocab.bpe), the embedded corpus and a tokenizer trained on it stand in.
"""

from ml_collections import ConfigDict

PODS = {"v5p:8x16x16": {"mesh.tensor": 8}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=2048, cross_documents=True),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=50257,
                layers=96,
                width=12288,
                heads=96,
                feed_forward=49152,
                max_length=2048,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=0.6e-4,
                schedule="cosine",
                final=0.1,
                warmup_steps=715,
                decay_steps=90_800,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(
                steps=103_500,
                batch_size=1536,
                phases=(
                    (0, dict(batch_size=256)),
                    (5000, dict(batch_size=512)),
                    (10_000, dict(batch_size=1024)),
                    (12_000, dict(batch_size=1536)),
                ),
            ),
        )
    )
