"""GPT-3 175B, 174,604,259,328 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_175b.py --config.data.source="text:GLOB"

gpt3_125m.py has the recipe, its sources and its departures. Here 300 B tokens are 103,500 steps:
the warm-up ends at step 715, the cosine at step 90,800.
The batch grows from 256 rows (0.5 M tokens) by 512 and 1,024 to 1,536 rows of 2,048 (3.1 M tokens;
the paper's 3.2 M would be 1,562.5 rows) at steps 5,000, 10,000 and 12,000, within 12.1 B tokens.
The paper grows it linearly over 4 to 12 B tokens from 16 rows, which would leave most of the chips
that such a model needs without a row.
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
