"""nanoGPT's character model for a GPU (config/train_shakespeare_char.py), 10,747,776 parameters.

    curl -O https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
    python -m pretrain_jax.main --config=configs/shakespeare_char_gpu.py:input.txt

The argument after the colon is a file or a glob. nanoGPT publishes a validation loss of 1.4697 (the
best in 5,000 steps). Our loss covers all of the held-out last tenth, nanoGPT's covers random
windows of it. This recipe overfits: look at the lowest validation loss, not the last.

The vocabulary of 72 has the text's 65 characters and 7 special ids. Another text may need a larger
model.vocab_size.
Differences from nanoGPT: an epoch visits every window once, in random order; nanoGPT draws windows
at random. GELU uses the tanh approximation; nanoGPT's is exact.
"""

from ml_collections import ConfigDict


def get_config(text: str = "input.txt") -> ConfigDict:
    return ConfigDict(
        dict(
            data=dict(source=f"text:{text}", seq_len=256, split="tail"),
            tokenizer=dict(name="chars"),
            objective=dict(name="causal_lm"),
            model=dict(
                name="gpt",
                vocab_size=72,
                layers=6,
                width=384,
                heads=6,
                feed_forward=1536,
                max_length=256,
                dropout=0.2,
                bias=False,
                position_std=0.02,
                unroll=6,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=1e-3,
                schedule="cosine",
                final=0.1,
                warmup_steps=100,
                b2=0.99,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            train=dict(steps=5000, batch_size=64),
            checkpoint=dict(every=250, keep=2),
            eval=dict(every=250, tokens=111_540),
        )
    )
