"""LLaMA 3 8B, 8,030,261,248 parameters (Grattafiori et al. 2024, sections 3.2 and 3.4, table 3).

    python -m pretrain_jax.main --config=configs/llama3_8b.py --config.data.source="text:GLOB"

It trains on 15 T tokens in 1,065,200 steps. The paper gives the recipe of the 405B model, and says
that those of the smaller models are similar; the peak learning rate is given for each size. The
learning rate warms up over 8,000 steps and follows a cosine that would reach 1 % at step 1,200,000.
The batch has 1,024 rows of 4,096 tokens (4 M tokens), then rows of 8,192 tokens after 252 M tokens,
and 2,048 of these after 2.87 T tokens. Attention stays within one document, as in the paper.
LLaMA 3.1 turns rotary positions more slowly, for rows of up to 131,072 tokens. To continue a run:
--config.init_from=RUN --config.model.rope_scaling=llama3 --config.model.rope_factor=8.
Not from the paper: betas, weight decay and clipping, which are LLaMA 2's, and initialization with
N(0, 0.02), as in Hugging Face's port. The epsilon of the norms is that of the released parameter
files. The paper anneals the learning rate to 0 over the last 40 M tokens; this recipe does not.
Difference from the paper: a tokenizer trained here splits text as GPT-2's does. The vocabulary is
the released one, 128,000 tokens and 256 special ones.
By default, the text is the source code of Python's standard library, and a tokenizer is trained on
the text. --config.data.source names another text.
"""

from ml_collections import ConfigDict

PODS = {"v5p:4x8x8": {}}


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source="stdlib", seq_len=4096),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="llama",
                vocab_size=128_256,
                layers=32,
                width=4096,
                heads=32,
                kv_heads=8,
                feed_forward=14336,
                rope_base=500_000.0,
                norm_epsilon=1e-5,
                remat="full",
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=3e-4,
                schedule="cosine",
                final=0.01,
                warmup_steps=8000,
                decay_steps=1_200_000,
                b2=0.95,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            mesh=dict(data=1, fsdp=-1),
            train=dict(
                steps=1_065_200,
                batch_size=1024,
                phases=(
                    (60, dict(seq_len=8192)),
                    (342_160, dict(batch_size=2048)),
                ),
            ),
        )
    )
