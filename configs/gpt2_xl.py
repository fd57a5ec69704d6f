"""GPT-2 XL, 1,557,611,200 parameters (Radford et al. 2019, section 2.3 and table 2).

    python -m pretrain_jax.main --config=configs/gpt2_xl.py --config.data.source="text:GLOB"

See gpt2_small.py for the recipe and its sources. The peak learning rate is that of GPT-3 "XL".
The paper prints 1542M, which is a miscount. A microbatch has 64 rows.
The 25 heads divide only by 5 and 25, so mesh.tensor must be 1, 5 or 25. Use mesh.fsdp for the other
devices.
"""

import gpt2_small
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = gpt2_small.get_config()
    config.update(
        model=dict(layers=48, width=1600, heads=25, feed_forward=6400, remat="full"),
        optimizer=dict(learning_rate=2e-4),
        mesh=dict(data=1, fsdp=-1),
    )
    return config
