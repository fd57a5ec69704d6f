"""GPT for BabyLM's budget of 10 million words, 97,737,216 parameters (docs/howto/babylm.md).

    python -m pretrain_jax.main --config=configs/babylm_gpt.py:babylm_10M

The argument after the colon is the folder with BabyLM's *.train files. The shape and the recipe are
those of the organizers' first decoder, OPT-125M (Warstadt et al. 2023; the code is
babylm/baseline-pretraining, general_train.py and basic_param_setter.py): 128 rows of 128 tokens, a
constant learning rate of 1e-4 after 5,000 steps, weight decay 0.1 on every parameter. 16,000 steps
are about 20 epochs, as there, if a word has 1.3 tokens.
Differences from that code: the vocabulary has 16,384 ids and comes from the training text; OPT's
has 50,272 and comes from other text. The activation is GPT-2's; OPT's is ReLU. There are 128
positions instead of 2,048; for longer rows, set data.seq_len and model.max_length.
Without an argument, the text is the source code of Python's standard library.
"""

from ml_collections import ConfigDict

PODS = {"v5e:2x2": {}}


def get_config(folder: str = "") -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source=f"text:{folder}/*.train" if folder else "stdlib", seq_len=128),
            tokenizer=dict(name="byte_bpe"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=16_384,
                layers=12,
                width=768,
                heads=12,
                feed_forward=3072,
                max_length=128,
                dropout=0.1,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=1e-4,
                schedule="constant",
                warmup_steps=5000,
                b2=0.999,
                weight_decay=0.1,
                no_decay=(),
                clip_norm=1.0,
            ),
            train=dict(steps=16_000, batch_size=128),
            checkpoint=dict(every=800, keep=2, keep_every=1600),
            eval=dict(every=800),
        )
    )
