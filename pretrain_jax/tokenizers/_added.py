"""`tokenizer.added`: special ids that a published vocabulary lacks, after all of its ids."""

from collections.abc import Callable, Sequence

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError
from pretrain_jax.tokenizers import SPECIAL_NAMES, Tokenizer

NAMES = tuple(name for name in SPECIAL_NAMES if name != "unk")


def append_ids(
    tokenizer: Tokenizer, added: Sequence[str], spell: Callable[[str], str]
) -> dict[str, int]:
    """Gives `tokenizer` special ids with these names, in this order; returns them by spelling.

    For GPT-2's 50257 ids and ("cls", "sep"): {"<|cls|>": 50257, "<|sep|>": 50258}. spell: the
    spelling of a name. Raises ConfigError for an unknown name, or one that already has an id.
    """
    spellings = {tokenizer.id_to_token(i): i for i in range(tokenizer.size)} if added else {}
    found = {}
    for name in added:
        registry.check_name(name, NAMES, "a name in tokenizer.added")
        spelling, i = spell(name), getattr(tokenizer, name)
        if i is not None or spelling in spellings:
            what = f"the token {spelling}" if i is None else name
            raise ConfigError(
                f"tokenizer.added must name special ids that the vocabulary lacks; it has {what} "
                f"already, as id {spellings[spelling] if i is None else i}. Leave {name} out of "
                "tokenizer.added"
            )
        found[spelling] = tokenizer.size
        setattr(tokenizer, name, tokenizer.size)
        tokenizer.size += 1
    return found


def refuse_to_train(added: Sequence[str]) -> None:
    """Raises ConfigError if a vocabulary that is learned shall have added ids."""
    if added:
        raise ConfigError(
            "tokenizer.added must name special ids that the vocabulary lacks; one that is learned "
            f"here has every special id already; received {tuple(added)}. Leave out "
            "tokenizer.added, or set tokenizer.path to a published vocabulary"
        )


def how_to_add(names: Sequence[str]) -> str:
    """The remedy for special ids that a vocabulary lacks, for a message.

    >>> how_to_add(["cls"])
    "set tokenizer.added=('cls',)"
    """
    return f"set tokenizer.added={tuple(names)}"
