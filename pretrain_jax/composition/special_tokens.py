"""Whether a tokenizer has what the objectives of a run need."""

from collections.abc import Mapping, Sequence
from typing import Any

from pretrain_jax.errors import ConfigError
from pretrain_jax.tokenizers import Tokenizer


def check_needs(tokenizer: Tokenizer, needs: Sequence[str], sentinels: int, what: str) -> None:
    """Raises ConfigError unless a tokenizer has the special ids `needs` and so many sentinels."""
    lacking = [name for name in needs if name not in tokenizer.special_ids]
    if lacking:
        found = ", ".join(f"{name} {i}" for name, i in tokenizer.special_ids.items()) or "none"
        added = " and ".join(map(tokenizer.how_to_add, lacking))
        raise ConfigError(
            f"{what} needs a tokenizer with the special ids {', '.join(needs)}; this one has no "
            f"{' and no '.join(lacking)} (it has {found}). Leave tokenizer.path empty: what is "
            f"trained on the run's own corpus has them all. Or give the vocabulary {added} (and "
            "raise model.vocab_size). Or take RoBERTa's, which has them all: tokenizer.name="
            "byte_bpe and tokenizer.path=a folder with encoder.json, vocab.bpe and dict.txt"
        )
    more = sentinels - len(tokenizer.sentinels)
    if more > 0:
        raise ConfigError(
            f"{what} may need {sentinels} sentinels (<extra_id_0> and on) in one example; this "
            f"tokenizer has {len(tokenizer.sentinels)}. Set tokenizer.sentinels={sentinels} (they "
            f"are new ids: model.vocab_size must be {tokenizer.size + more} or more) and start in "
            "a new --workdir; or lower data.seq_len"
        )


def check_boundary(ends: Mapping[str, Any]) -> None:
    """Raises ConfigError where no id can stand between documents that are read as one text."""
    if ends["begin"] is None and ends["end"] is None:
        raise ConfigError(
            "data.cross_documents needs an id between documents, and this tokenizer has neither a "
            "begin nor an end id. Leave tokenizer.path empty: what is trained on the run's own "
            "corpus has both. Or set data.cross_documents=False"
        )
