"""A tokenizer without what an objective needs is refused, and the message says how to get it."""

import numpy as np
import pytest

from pretrain_jax.composition.check_special_tokens import check_special_tokens
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.tokenizers import Tokenizer, byte_bpe, wordpiece

NEEDS = ("pad", "bos", "eos", "mask", "cls", "sep")


@pytest.mark.parametrize("name", ["byte_bpe", "bytes", "chars", "sentencepiece", "wordpiece"])
def test_what_is_trained_here_has_all(trained, name):
    check_special_tokens(trained(name, sentinels=3), NEEDS, 3, "objective.name=any")


@pytest.mark.parametrize("name", ["byte_bpe", "bytes", "chars", "sentencepiece", "wordpiece"])
def test_too_few_sentinels(trained, name):
    tokenizer = trained(name, sentinels=3)
    message = (
        rf"span_corruption may need 10 sentinels .* has 3\. Set tokenizer\.sentinels=10 .*"
        rf"model\.vocab_size must be {tokenizer.size + 7} or more\) .* new --workdir"
    )
    with pytest.raises(ConfigError, match=message):
        check_special_tokens(tokenizer, ("pad",), 10, "span_corruption")


def test_a_missing_id(tmp_path, vocabulary):
    """The message names what is missing alone, what there is, and how the file spells it."""
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
    tokenizer = wordpiece.load(tmp_path)
    check_special_tokens(tokenizer, ("cls", "sep"), 0, "masked_lm")
    message = (
        r"masked_lm needs .* cls, mask; this one has no mask \(it has pad 0, unk 1, cls 2, sep 3\)"
        r"\. Leave tokenizer\.path empty.*Or append the line \[MASK\] to "
        r"vocab\.txt; model\.vocab_size must then be 6 or more"
    )
    with pytest.raises(ConfigError, match=message):
        check_special_tokens(tokenizer, ("cls", "mask"), 0, "masked_lm")
    with (tmp_path / "vocab.txt").open("a") as file:
        file.write("[MASK]\n")
    check_special_tokens(
        wordpiece.load(tmp_path), ("cls", "mask"), 0, "masked_lm"
    )  # as the message says


def test_remedies(trained):
    lines = "append the lines [BOS] and [EOS] to vocab.txt"
    assert trained("wordpiece").how_to_add(("bos", "eos")) == lines
    for name in ("byte_bpe", "sentencepiece"):
        assert trained(name).how_to_add(["mask"]) == "set tokenizer.added=('mask',)"


class Bare(Tokenizer):
    """Nothing but what the interface asks for."""

    size = 3
    fingerprint = "bare"

    def encode(self, text):
        return np.zeros(len(text), np.int32)

    def decode(self, ids):
        return "".join("ab."[i] for i in ids)

    def id_to_token(self, token):
        return "ab."[token]

    @property
    def word_starts(self):
        return np.ones(self.size, np.bool_)

    @property
    def token_bytes(self):
        return np.ones(self.size, np.int32)


def test_the_interface_asks_for_little():
    bare = Bare()
    assert bare.special_ids == {} and not bare.special.any()
    assert bare.sentence_ends.tolist() == [False, False, True]
    with pytest.raises(ConfigError, match=r"no pad \(it has none\).* Or add ids for pad"):
        check_special_tokens(bare, ("pad",), 0, "anything")


@pytest.fixture
def fairseq(tmp_path, vocabulary):
    """A folder with a dict.txt whose lines can be changed, and the tokenizer without it."""
    folder = vocabulary("byte_bpe")
    encoder = (folder / "encoder.json").read_text().replace('"<|pad|>"', '"<|other|>"')
    (tmp_path / "encoder.json").write_text(encoder)
    (tmp_path / "vocab.bpe").write_bytes((folder / "vocab.bpe").read_bytes())
    plain = byte_bpe.load(tmp_path)
    order = np.random.default_rng(0).permutation(plain.size).tolist()
    lines = [*(f"{i} {7 * i}" for i in order), "madeupword0000 0"]
    return tmp_path, plain, order, lines


def test_fairseq_numbers_by_line(fairseq):
    folder, plain, order, lines = fairseq
    (folder / "dict.txt").write_text("\n".join(lines) + "\n")
    tokenizer = byte_bpe.load(folder)
    text = "the parser of arguments"
    wanted = [order.index(i) + 4 for i in plain.encode(text)]
    assert tokenizer.encode(text).tolist() == wanted
    assert tokenizer.decode(wanted) == text
    assert tokenizer.size == plain.size + 4 + 2
    assert (tokenizer.bos, tokenizer.pad, tokenizer.eos, tokenizer.unk) == (0, 1, 2, 3)
    assert tokenizer.id_to_token(tokenizer.size - 1) == "<mask>"
    assert tokenizer.special[tokenizer.size - 2] and tokenizer.fingerprint != plain.fingerprint


@pytest.mark.parametrize("harm", ["lost", "twice", "word", "empty", "special"])
def test_a_malformed_dict_is_bad_data(fairseq, harm):
    folder, _, _, lines = fairseq
    harmed = {
        "lost": lines[1:],
        "twice": [*lines, lines[0]],
        "word": ["the 12", *lines],
        "empty": [],
        "special": [*lines, "<mask> 0"],
    }[harm]
    (folder / "dict.txt").write_text("\n".join(harmed) + "\n")
    with pytest.raises(DataError, match=r"dict\.txt must be an id of encoder\.json"):
        byte_bpe.load(folder)
