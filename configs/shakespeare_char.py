"""nanoGPT's character model for a CPU (README), 804,992 parameters.

    curl -O https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
    python -m pretrain_jax.main --config=configs/shakespeare_char.py:input.txt

The argument after the colon is a file or a glob. On two cores, valid/loss was 1.81 after 2,000
steps, in 100 s including eight evaluations. nanoGPT publishes 1.88, an estimate over a few random
windows. This config scores all of the held-out last tenth. On the same text, nanoGPT's code gave
1.905, and this config gave 1.896 at nanoGPT's learning rate (--config.optimizer.learning_rate=1e-3;
docs/performance.md).

The vocabulary of 72 has the text's 65 characters and 7 special ids. Another text may need a larger
model.vocab_size.
Differences from nanoGPT: the learning rate is 2e-3 and decays to 2e-4; nanoGPT's is 1e-3. An epoch
visits every window once, in random order; nanoGPT draws windows at random. GELU uses the tanh
approximation; nanoGPT's is exact.
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
