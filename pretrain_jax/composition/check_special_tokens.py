"""Checks that a tokenizer has the special tokens that the objectives of a run need."""

from collections.abc import Mapping, Sequence

from pretrain_jax.errors import ConfigError
from pretrain_jax.tokenizers import Tokenizer


def check_special_tokens(
    tokenizer: Tokenizer, required: Sequence[str], sentinels: int, what: str
) -> None:
    """Raises ConfigError unless a tokenizer has the special ids `required` and enough sentinels.

    what: what requires them, for the message.
    """
    missing = [name for name in required if name not in tokenizer.special_ids]
    if missing:
        present = ", ".join(f"{name} {i}" for name, i in tokenizer.special_ids.items()) or "none"
        raise ConfigError(
            f"{what} needs a tokenizer with the special ids {', '.join(required)}; this one has no "
            f"{' and no '.join(missing)} (it has {present}). Leave tokenizer.path empty: a "
            f"tokenizer trained on the run's own corpus has all of them. Or "
            f"{tokenizer.how_to_add(missing)}; model.vocab_size must then be "
            f"{tokenizer.size + len(missing)} or more. Or use RoBERTa's, which has all of them: "
            "tokenizer.name=byte_bpe and tokenizer.path=a folder with encoder.json, vocab.bpe and "
            "dict.txt"
        )
    shortage = sentinels - len(tokenizer.sentinels)
    if shortage > 0:
        raise ConfigError(
            f"{what} may need {sentinels} sentinels (<extra_id_0>, ...) in one example; this "
            f"tokenizer has {len(tokenizer.sentinels)}. Set tokenizer.sentinels={sentinels} (with "
            f"tokenizer.path, this adds ids: model.vocab_size must be {tokenizer.size + shortage} "
            "or more) and start in a new --workdir. With some objectives, a lower data.seq_len "
            "needs fewer sentinels"
        )


def check_boundary(ids: Mapping[str, int | None]) -> None:
    """Raises ConfigError unless one of the ids "begin" and "end" can separate documents."""
    if ids["begin"] is None and ids["end"] is None:
        raise ConfigError(
            "data.cross_documents needs an id between documents; this tokenizer has neither a "
            "begin nor an end id. Leave tokenizer.path empty: a tokenizer trained on the run's own "
            "corpus has both. Or set data.cross_documents=False"
        )
