"""GPT-2 medium, 354,823,168 parameters (Radford et al. 2019, section 2.3 and table 2).

    python -m pretrain_jax.main --config=configs/gpt2_medium.py --config.data.source="text:GLOB"

See gpt2_small.py for the recipe and its sources. The peak learning rate is that of GPT-3 "Medium".
The paper prints 345M, which is a miscount. A microbatch has 64 rows.
"""

import gpt2_small
from ml_collections import ConfigDict

PODS = {"v5e:4x4": {}}


def get_config() -> ConfigDict:
    config = gpt2_small.get_config()
    config.update(
        model=dict(layers=24, width=1024, heads=16, feed_forward=4096, remat="full"),
        optimizer=dict(learning_rate=3e-4),
        mesh=dict(data=1, fsdp=-1),
    )
    return config
