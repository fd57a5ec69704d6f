"""UL2's mixture of denoisers on T5's encoder-decoder, 1,640,832 parameters.

    python -m pretrain_jax.main --config=configs/ul2_nano.py

The mixture has seven members over one source (Tay et al. 2022, table 2): R-denoisers with short
spans, X-denoisers with long spans or half of the text, and an S-denoiser, which is a prefix
language model. Each has a mode token. R, S and X have a rate of one third each. A row reserves the
longest targets of all members, so 57 % of the decoder's slots stay empty (--mode=preflight). A full
run has not been measured yet.
"""

from ml_collections import ConfigDict


def get_config(source: str = "stdlib") -> ConfigDict:
    def spans(rate: float, mean_span: float, mode: int) -> dict:
        return dict(name="span_corruption", rate=rate, mean_span=mean_span, mode=mode)

    return ConfigDict(
        dict(
            seed=0,
            data=dict(
                seq_len=128,
                mixture=(
                    (source, spans(0.15, 3.0, mode=1), 1 / 6),
                    (source, spans(0.15, 8.0, mode=1), 1 / 6),
                    (source, dict(name="prefix_lm", rate=0.25, mode=2), 1 / 3),
                    (source, spans(0.5, 3.0, mode=3), 1 / 12),
                    (source, spans(0.5, 8.0, mode=3), 1 / 12),
                    (source, spans(0.15, 64.0, mode=3), 1 / 12),
                    (source, spans(0.5, 64.0, mode=3), 1 / 12),
                ),
            ),
            tokenizer=dict(name="byte_bpe", sentinels=40),
            objective=dict(name="span_corruption"),
            model=dict(
                name="t5",
                vocab_size=2048,
                layers=3,
                width=128,
                heads=4,
                head_width=32,
                feed_forward=512,
                dropout=0.0,
                unroll=3,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=2e-3,
                schedule="linear",
                warmup_steps=100,
                b2=0.98,
                weight_decay=0.01,
            ),
            train=dict(steps=1000, batch_size=16),
            checkpoint=dict(every=250),
            eval=dict(every=250, tokens=16384),
        )
    )
