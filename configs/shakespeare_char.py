"""nanoGPT's character model for a CPU (README), 804,992 parameters.

    curl -O https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
    python -m pretrain_jax.main --config=configs/shakespeare_char.py:input.txt

The argument is a file, or a glob, of your own choice. Measured on two cores: valid/loss 1.81 after
2,000 steps, in 100 s with its eight evaluations. nanoGPT publishes 1.88, an estimate over a few
random windows; over all of the held-out last tenth, as here, its own code gave 1.905 and this
config at its learning rate (--config.optimizer.learning_rate=1e-3) 1.896 (docs/performance.md).

The text's 65 characters and 7 special ids make 72; another text may need a larger model.vocab_size.
Departures: a learning rate of 2e-3, decaying to 2e-4, where nanoGPT has 1e-3; an epoch visits
every window once, in random order, where nanoGPT draws windows at random; GELU in its tanh form,
where nanoGPT's is exact.
"""

from ml_collections import ConfigDict


def get_config(text: str = "input.txt") -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source=f"text:{text}", seq_len=64, split="tail"),
            tokenizer=dict(name="chars"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=72,
                layers=4,
                width=128,
                heads=4,
                feed_forward=512,
                max_length=64,
                dropout=0.0,
                bias=False,
                position_std=0.02,
                unroll=4,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=2e-3,
                schedule="cosine",
                final=0.1,
                warmup_steps=100,
                b2=0.99,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            train=dict(steps=2000, batch_size=12),
            checkpoint=dict(every=250, keep=2),
            eval=dict(every=250, tokens=111_540),
        )
    )
