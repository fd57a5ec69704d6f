"""GPT-3 XL, 1,315,723,264 parameters (Brown et al. 2020, section 2.1, table 2.1, appendix B).

    python -m pretrain_jax.main --config=configs/gpt3_1_3b.py --config.data.source="text:GLOB"

See gpt3_125m.py for the recipe, its sources and its differences from the paper. Here 300 B tokens
are 310,300 steps: the warm-up ends at step 8,700 and the cosine at step 272,100. The batch grows
from 16 rows to 512 rows of 2,048 tokens (1 M tokens): it doubles 5 times, every 6,000 steps, within
6.1 B tokens. A microbatch has at most 64 rows.
Table 2.1 prints 24 heads of width 128 at a model width of 2048, which must be a typo: 24 heads
would be 3072 wide and the model would have 1.517 B parameters. Here it has 16 heads.
"""

import gpt3_125m
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = gpt3_125m.get_config()
    config.update(
        model=dict(layers=24, width=2048, heads=16, feed_forward=8192),
        optimizer=dict(learning_rate=2e-4, warmup_steps=8700, decay_steps=272_100),
        train=dict(
            steps=310_300, batch_size=512, phases=gpt3_125m.doublings(5, every=6000, at_once=64)
        ),
    )
    return config
