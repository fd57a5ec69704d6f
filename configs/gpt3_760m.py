"""GPT-3 Large, 760,300,032 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_760m.py --config.data.source="text:GLOB"

300 B tokens in 596,700 steps: warm-up over 375 M tokens (9,700 steps), cosine to 10 % at 260 B
(step 520,400), then flat. Documents are packed with an end token and no mask between them.
The batch grows from 16 rows (32 k tokens) to 256 rows of 2,048 (0.5 M tokens), by 4 doublings, one
every 8,000 steps, 3.9 B tokens in all. The paper grows it in a straight line over 4 to 12 B tokens,
and counts schedules in tokens. A mesh with more than 16 shards of the batch (data x fsdp) needs
another train.phases. At most 64 rows are computed at a time.
Departures: every layer's attention is dense (the paper alternates it with a banded one, of a
bandwidth it does not give); initialisation as GPT-2's.
Until you name yours (--config.data.source="text:GLOB", --config.tokenizer.path=DIR with GPT-2's
encoder.json and vocab.bpe), the embedded corpus and a tokenizer trained on it stand in.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=2048, cross_documents=True),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=50257,
                layers=24,
                width=1536,
                heads=16,
                feed_forward=6144,
                max_length=2048,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=2.5e-4,
                schedule="cosine",
                final=0.1,
                warmup_steps=9700,
                decay_steps=520_400,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(
                steps=596_700,
                batch_size=256,
                phases=tuple(
                    (8000 * k, dict(batch_size=16 * 2**k, accumulate=max(2**k // 4, 1)))
                    for k in range(5)
                ),
            ),
        )
    )
