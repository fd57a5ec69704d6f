"""T5 for BabyLM's budget of 10 million words, 210,812,160 parameters (docs/howto/babylm.md).

    python -m pretrain_jax.main --config=configs/babylm_t5.py:babylm_10M

The argument after the colon is the folder with BabyLM's *.train files. The shape and the recipe are
those of the organizers' first encoder-decoder, T5-base (Warstadt et al. 2023; the code is
babylm/baseline-pretraining, train_t5_babylm.sh): 128 rows of 128 tokens, Adafactor at 5e-3, which
warms up over 2,000 steps and then falls to 0 along a line. 16,000 steps are about 20 epochs, as
there, if a word has 1.3 tokens.
Differences from that code: the vocabulary has 16,384 ids, of which 100 are sentinels, and comes
from the training text; T5's has 32,128. There is no weight decay; there it is 0.001.
Without an argument, the text is the source code of Python's standard library.
"""

import t5_base
from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config(folder: str = "") -> ConfigDict:
    config = t5_base.get_config()
    config.update(
        data=dict(source=f"text:{folder}/*.train" if folder else "stdlib", seq_len=128),
        model=dict(vocab_size=16_384),
        optimizer=dict(learning_rate=5e-3, schedule="linear", warmup_steps=2000),
        train=dict(steps=16_000, batch_size=128, accumulate=1, z_loss=0.0),
        checkpoint=dict(every=800, keep=2, keep_every=1600),
        eval=dict(every=800),
    )
    return config
