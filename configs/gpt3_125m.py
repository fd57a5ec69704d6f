"""GPT-3 Small, 125,226,240 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_125m.py --config.data.source="text:GLOB"

It trains on 300 B tokens in 596,700 steps. The learning rate warms up over 375 M tokens (9,700
steps), follows a cosine to 10 % at 260 B tokens (step 520,400), and is then constant. Documents are
packed into rows with an end token between them and no mask.
The batch grows from 16 rows (32 k tokens) to 256 rows of 2,048 tokens (0.5 M tokens): it doubles 4
times, every 8,000 steps, within 3.9 B tokens. The paper grows it linearly over 4 to 12 B tokens and
counts schedules in tokens. A mesh that splits the batch into more than 16 shards (data x fsdp)
needs other train.phases. A microbatch has at most 64 rows.
Differences from the paper: attention is dense in every layer (the paper alternates dense and banded
layers but does not give the bandwidth). The initialization is GPT-2's.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text; --config.tokenizer.path=DIR uses GPT-2's
encoder.json and vocab.bpe instead.
"""

from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def doublings(count: int, every: int, at_once: int) -> tuple:
    """Phases that double a batch of 16 rows `count` times, every `every` steps.

    at_once: the largest number of rows in a microbatch.
    """
    sizes = [16 * 2**k for k in range(count + 1)]
    return tuple(
        (every * k, dict(batch_size=size, accumulate=max(size // at_once, 1)))
        for k, size in enumerate(sizes)
    )


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=2048, cross_documents=True),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=50257,
                layers=12,
                width=768,
                heads=12,
                feed_forward=3072,
                max_length=2048,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=6e-4,
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
                phases=doublings(4, every=8000, at_once=64),
            ),
        )
    )
