"""GPT-3 13B, 12,853,386,240 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_13b.py --config.data.source="text:GLOB"

gpt3_125m.py has the recipe, its sources and its departures. Here 300 B tokens are 163,100 steps:
the warm-up ends at step 7,700, the cosine at step 144,000. The batch grows from 16 rows to 1,024
rows of 2,048 (2 M tokens) by 6 doublings, one every 4,000 steps, within 8.3 B tokens. A step
computes at most 128 rows at a time.
Table 2.1 prints a width of 5140, a slip: it is no multiple of its 40 heads of 128. It is 5120 here.
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
