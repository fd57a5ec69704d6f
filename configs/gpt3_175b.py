"""GPT-3 175B, 174,604,259,328 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_175b.py --config.data.source="text:GLOB"

See gpt3_125m.py for the recipe, its sources and its differences from the paper. Here 300 B tokens
are 103,500 steps: the warm-up ends at step 715 and the cosine at step 90,800.
The batch starts with 256 rows of 2,048 tokens (0.5 M tokens). It has 512 rows after step 5,000,
1,024 after step 10,000 and 1,536 after step 12,000 (3.1 M tokens; the paper's 3.2 M would be
1,562.5 rows), within 12.1 B tokens. The paper grows it linearly from 16 rows over 4 to 12 B tokens.
Most of the chips that such a model needs would then have no row.
"""

import gpt3_125m
from ml_collections import ConfigDict

PODS = {"v5p:8x16x16": {"mesh.tensor": 8}}


def get_config() -> ConfigDict:
    config = gpt3_125m.get_config()
    config.update(
        model=dict(layers=96, width=12288, heads=96, feed_forward=49152),
        optimizer=dict(learning_rate=0.6e-4, warmup_steps=715, decay_steps=90_800),
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
    return config
