"""GPT-3 13B, 12,853,386,240 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_13b.py --config.data.source="text:GLOB"

See gpt3_125m.py for the recipe, its sources and its differences from the paper. Here 300 B tokens
are 163,100 steps: the warm-up ends at step 7,700 and the cosine at step 144,000. The batch grows
from 16 rows to 1,024 rows of 2,048 tokens (2 M tokens): it doubles 6 times, every 4,000 steps,
within 8.3 B tokens. A microbatch has at most 128 rows.
Table 2.1 prints a width of 5140, which must be a typo: 40 heads of width 128 make 5120, as here.
"""

import gpt3_125m
from ml_collections import ConfigDict

PODS = {"v5p:2x2x4": {}}


def get_config() -> ConfigDict:
    config = gpt3_125m.get_config()
    config.update(
        model=dict(layers=40, width=5120, heads=40, feed_forward=20480),
        optimizer=dict(learning_rate=1e-4, warmup_steps=7700, decay_steps=144_000),
        train=dict(
            steps=163_100, batch_size=1024, phases=gpt3_125m.doublings(6, every=4000, at_once=128)
        ),
    )
    return config
