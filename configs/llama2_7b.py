"""LLaMA 2 7B, 6,738,415,616 parameters (Touvron et al. 2023b, section 2.2, table 1).

    python -m pretrain_jax.main --config=configs/llama2_7b.py --config.data.source="text:GLOB"

It trains on 2.0 T tokens in 476,800 steps of 1,024 x 4,096 tokens (4 M tokens). AdamW's epsilon is
1e-5, as in the paper; that of the norms is 1e-5, as in the released parameter files. See
llama_7b.py for the rest of the recipe and its differences from the paper.
"""

import llama_7b
from ml_collections import ConfigDict

PODS = {"v5p:4x8x8": {}}


def get_config() -> ConfigDict:
    config = llama_7b.get_config()
    config.update(
        data=dict(seq_len=4096),
        model=dict(norm_epsilon=1e-5),
        optimizer=dict(eps=1e-5),
        train=dict(steps=476_800, batch_size=1024),
    )
    return config
