"""Tokenizers of Hugging Face folders have the same ids here, or are refused with a sentence."""

import itertools
import json
import shutil

import numpy as np
import pytest
import tokenizers
from etils import epath
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from vocabularies import CORPUS

from pretrain_jax.errors import DataError, InputMissing
from pretrain_jax.huggingface import _sentencepiece_backend, _tokenizer_files
from pretrain_jax.huggingface._difficult_texts import DIFFICULT
from pretrain_jax.tokenizers import byte_bpe, sentencepiece
from pretrain_jax.tokenizers._byte_bpe_splits import SPLITS

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def read(folder, vocab_size=2000):
    return _tokenizer_files.read(epath.Path(folder), vocab_size=vocab_size)


@pytest.fixture
def byte_level(tmp_path):
    """byte_level(**parts): the folder of a byte-level tokenizer.json, learned with the library."""

    def learn(specials=("<|endoftext|>",), **parts):
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = parts.pop("pre_tokenizer", GPT2)
        backend.decoder = decoders.ByteLevel()
        for name, part in parts.items():
            setattr(backend, name, part)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=list(specials),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        backend.train_from_iterator(CORPUS, trainer)
        backend.save(str(tmp_path / "tokenizer.json"))
        return tmp_path, backend

    return learn


def assert_same(ours, backend, strings):
    for text in [*DIFFICULT, *CORPUS, *strings]:
        if not any(t.content in text for t in backend.get_added_tokens_decoder().values()):
            assert ours.encode(text).tolist() == backend.encode(text, add_special_tokens=False).ids


def test_a_byte_level_tokenizer_json(byte_level, placed, strings):
    folder, backend = byte_level()
    imported = read(folder)
    assert (imported.name, imported.options) == ("byte_bpe", {"sentinels": 0})
    ours = placed(imported)
    assert ours.bos == ours.eos == 0 and ours.size == 600
    assert_same(ours, backend, strings)


def test_vocab_json_and_merges_txt(byte_level, placed, strings):
    """GPT-2's files, as its repository has them; RoBERTa's have other special tokens."""
    folder, backend = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    (folder / "tokenizer.json").unlink()
    backend.model.save(str(folder))
    ours = placed(read(folder))
    named = {"bos": 0, "cls": 0, "pad": 1, "eos": 2, "sep": 2, "unk": 3, "mask": 4}
    assert ours.special_ids == named
    assert_same(ours, backend, strings)


def test_a_token_with_several_pairs(byte_level, placed, strings):
    """LLaMA 3's tokenizer.json, made from tiktoken's file, lists every pair that makes a token."""
    folder, _ = byte_level()
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    made = dict.fromkeys("".join(pair) for pair in content["model"]["merges"])
    content["model"]["merges"] = [
        [token[:cut], token[cut:]]
        for token in made
        for cut in range(1, len(token))
        if {token[:cut], token[cut:]} <= vocabulary.keys()
    ]
    content["model"]["ignore_merges"] = True
    (folder / "tokenizer.json").write_text(json.dumps(content))
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert_same(placed(read(folder)), backend, strings)


def test_llama_3(byte_level, placed, strings, tmp_path_factory):
    """Its own pattern; special tokens that the vocabulary of the model does not have."""
    words = pre_tokenizers.Split(tokenizers.Regex(SPLITS["llama3"].published), "isolated")
    folder, backend = byte_level([], pre_tokenizer=pre_tokenizers.Sequence([words, LEVEL]))
    backend.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    backend.save(str(folder / "tokenizer.json"))
    ours = placed(read(folder))
    assert ours.special_ids == {"bos": 600, "eos": 601} and ours.size == 603
    spaces = (" ", "\n", " \n", "\n ", "\r\n", "\t", "\u2028\n\x85")
    runs = [
        f"{before}{space * n}{after}"
        for before, after in itertools.product("a!1", ["b", "!", ""])
        for space, n in itertools.product(spaces, (1, 2, 3))
    ]
    assert_same(ours, backend, [*strings, *runs, "12345678", "I'LL we've '\u017f"])
    long = " " * 600_000  # tiktoken cannot split it at once
    for words in (
        ["a", long, " b"],
        ["a", f"\n{long}\n", long, " b"],
        ["!\n", f"{long}\n", "b"],
    ):
        one_by_one = np.concatenate([ours.encode(word) for word in words])
        assert ours.encode("".join(words)).tolist() == one_by_one.tolist()
    hf = epath.Path(tmp_path_factory.mktemp("hf"))
    _tokenizer_files.write(ours, hf, model_type="llama", max_length=512)
    assert not (hf / "vocab.json").exists()  # other programs would split as GPT-2 does
    assert placed(read(hf)).fingerprint == ours.fingerprint


@pytest.mark.parametrize("lower_case", [True, False])
def test_bert(placed, strings, tmp_path, lower_case):
    """From tokenizer.json and from vocab.txt; words of 101 to 200 letters are [UNK] there."""
    trained = tokenizers.BertWordPieceTokenizer(lowercase=lower_case)
    trained.train_from_iterator(CORPUS, vocab_size=700, show_progress=False)
    trained.save(str(tmp_path / "tokenizer.json"))
    trained.save_model(str(tmp_path))
    config = {"do_lower_case": lower_case}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    for _ in range(2):
        imported = read(tmp_path)
        assert (imported.name, imported.options["lower_case"]) == ("wordpiece", lower_case)
        ours = placed(imported)
        assert ours.encode("e" * 101).tolist() == [ours.unk] != ours.encode("e" * 100).tolist()
        assert_same(ours, trained, strings)
        assert ours.id_to_token(ours.mask) == "[MASK]"
        (tmp_path / "tokenizer.json").unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["tokenizer.json", "added_tokens.json", "extra_ids", "by default"])
def test_t5(learned, placed, tmp_path, how):
    """The model has no sentinels; another file has, or T5Tokenizer adds 100."""
    folder, _ = learned("sentencepiece unigram lossy")
    count = 100 if how == "by default" else 3
    tokenizer = sentencepiece.load(folder, sentinels=count)
    hf = epath.Path(tmp_path)
    _tokenizer_files.write(tokenizer, hf, model_type="t5", max_length=512)
    if how != "tokenizer.json":
        (hf / "tokenizer.json").unlink()
        (hf / "tokenizer_config.json").unlink()
    if how == "added_tokens.json":
        added = {tokenizer.id_to_token(i): i for i in tokenizer.sentinels}
        (hf / "added_tokens.json").write_text(json.dumps(added))
    elif how == "extra_ids":
        (hf / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 3}))
    elif how == "by default":
        (hf / "config.json").write_text(json.dumps({"model_type": "t5"}))
    assert placed(read(hf)).fingerprint == tokenizer.fingerprint


def test_tokens_added_to_llama(learned, placed, tmp_path):
    folder, tokenizer = learned("sentencepiece bpe", 0)
    shutil.copy(folder / "sentencepiece.model", tmp_path / "tokenizer.model")
    added = {"<|im_start|>": tokenizer.size, "<|im_end|>": tokenizer.size + 1}
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    ours = placed(read(tmp_path))
    assert ours.size == tokenizer.size + 2 and ours.special[-2:].all()
    assert ours.id_to_token(tokenizer.size) == "<|im_start|>"
    assert ours.encode(CORPUS[0]).tolist() == tokenizer.encode(CORPUS[0]).tolist()
    added["<|im_end|>"] += 1
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    with pytest.raises(DataError, match="must have the ids that follow its 900 pieces"):
        read(tmp_path)


@pytest.mark.parametrize(
    "kind",
    [
        "sentencepiece unigram",
        "sentencepiece bpe",
        "sentencepiece unigram lossy",
        "sentencepiece bpe lossy",
    ],
)
def test_a_sentencepiece_tokenizer_json_alone(learned, placed, tmp_path, kind):
    _, tokenizer = learned(kind)
    hf = epath.Path(tmp_path)
    _tokenizer_files.write(tokenizer, hf, model_type="t5", max_length=512)
    for file in hf.glob("*.model"):
        file.unlink()
    ours = placed(read(hf))
    assert ours.special_ids == tokenizer.special_ids and ours.sentinels == tokenizer.sentinels
    for text in [*DIFFICULT, *CORPUS]:
        assert ours.encode(text).tolist() == tokenizer.encode(text).tolist()
    assert ours.decode(ours.encode(CORPUS[1])) == tokenizer.decode(tokenizer.encode(CORPUS[1]))


def test_the_layout_of_llama_2(learned, placed, tmp_path, strings):
    """Its tokenizer.json puts "▁" in front of a text and for each space before it splits."""
    folder, tokenizer = learned("sentencepiece bpe", 0)
    backend = _sentencepiece_backend.from_model((folder / "sentencepiece.model").read_bytes())
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    backend.normalizer, backend.pre_tokenizer = normalizers.Sequence(steps), None
    backend.add_special_tokens([tokenizer.id_to_token(i) for i in range(7)])
    backend.save(str(tmp_path / "tokenizer.json"))
    ours = placed(read(tmp_path))
    assert ours.special_ids == tokenizer.special_ids
    for text in [*DIFFICULT, *CORPUS, *strings]:
        assert ours.encode(text).tolist() == tokenizer.encode(text).tolist()


@pytest.mark.filterwarnings("ignore")  # those of transformers
def test_what_transformers_makes_of_a_model(learned, placed, tmp_path):
    """T5Tokenizer keeps the ids of a unigram model; LlamaTokenizer loses a space at the start."""
    transformers = pytest.importorskip("transformers")
    folder, tokenizer = learned("sentencepiece unigram lossy", 0)
    shutil.copy(folder / "sentencepiece.model", tmp_path / "spiece.model")
    converted = transformers.T5Tokenizer.from_pretrained(tmp_path)
    converted.save_pretrained(tmp_path / "t5")
    ours = placed(read(tmp_path / "t5"))
    assert len(ours.sentinels) == 100 and len(converted) == ours.size == tokenizer.size + 100
    assert (ours.pad, ours.eos, ours.unk) == (0, 1, 2)
    for text in CORPUS:
        assert ours.encode(text).tolist() == converted.encode(text, add_special_tokens=False)
        assert ours.encode(text).tolist() == tokenizer.encode(text).tolist()

    folder, _ = learned("sentencepiece bpe", 0)
    shutil.copy(folder / "sentencepiece.model", tmp_path / "tokenizer.model")
    transformers.LlamaTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "llama")
    with pytest.raises(DataError, match=r"must give the same ids .* the text ' ' has"):
        read(tmp_path / "llama")


OTHER = pre_tokenizers.Split(
    tokenizers.Regex(r"\p{N}{1,3}|[^\r\n\p{L}\p{N}]?\p{L}+|[^\s\p{L}\p{N}]+|\s+"), "isolated"
)


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"normalizer": normalizers.NFC()}, r"before it splits words \(NFC\)"),
        (
            {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)},
            r"\(a space in front of every text\)",
        ),
        (
            {"pre_tokenizer": pre_tokenizers.Sequence([OTHER, LEVEL])},
            r"or of LLaMA 3; tokenizer.json has .*N\}\{1,3\}",
        ),
        ({"pre_tokenizer": LEVEL}, "or of LLaMA 3; tokenizer.json has 'no pattern'"),
    ],
)
def test_byte_level_tokenizers_that_byte_bpe_cannot_be(byte_level, parts, message):
    folder, _ = byte_level(**parts)
    with pytest.raises(DataError, match=message):
        read(folder)


def change(folder, **parts):
    content = json.loads((folder / "tokenizer.json").read_text())
    for path, value in parts.items():
        *outer, last = path.split("__")
        inner = content
        for key in outer:
            inner = inner[key]
        inner[last] = value
    (folder / "tokenizer.json").write_text(json.dumps(content))


def test_other_ids_are_refused(byte_level):
    """A merge table with a token from another pair: Hugging Face splits it in two."""
    folder, backend = byte_level()
    merges = json.loads(backend.to_str())["model"]["merges"]
    earlier = [*byte_bpe.ALPHABET, *("".join(pair) for pair in merges)]
    number, pair = next(
        (n, [token[:cut], token[cut:]])
        for n, token in enumerate(earlier[256:])
        for cut in range(1, len(token))
        if [token[:cut], token[cut:]] != merges[n]
        and {token[:cut], token[cut:]} <= set(earlier[: 256 + n])
    )
    merges[number] = pair
    change(folder, model__merges=merges)
    with pytest.raises(DataError, match="must give the same ids in pretrain_jax and in"):
        read(folder)


def test_refusals(byte_level, learned, tmp_path):
    folder, backend = byte_level()
    with pytest.raises(DataError, match="has 600 and the model 599"):
        read(folder, 599)
    backend.add_tokens(["\n\n"])
    backend.save(str(folder / "tokenizer.json"))
    with pytest.raises(DataError, match=r"Hugging Face looks for '\\n\\n' in a text"):
        read(folder)
    whole = (folder / "tokenizer.json").read_bytes()
    for content in (whole[:1000], b"", b"[1]", b"{}", b"\xff" + whole, b'{"model": {"type": "X"}}'):
        (folder / "tokenizer.json").write_bytes(content)
        with pytest.raises(DataError, match=r"tokenizer.json must (hold|be)"):
            read(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputMissing, match=r"must have tokenizer.json, spiece.model"):
        read(folder)
    (folder / "vocab.json").write_text("{}")
    with pytest.raises(InputMissing, match=r"merges.txt must exist"):
        read(folder)
    for vocabulary, merges in [("{}", "a b"), ('{"a": "x"}', ""), ('{"a": 0}', "a"), ("[", "")]:
        (folder / "vocab.json").write_text(vocabulary)
        (folder / "merges.txt").write_text(merges)
        with pytest.raises(DataError):
            read(folder)


def test_gpt1_and_word_level_models_are_refused(tmp_path):
    vocabulary = {"a": 0, "b</w>": 1, "ab</w>": 2}
    gpt1 = models.BPE(vocabulary, [("a", "b</w>")], end_of_word_suffix="</w>")
    for other, message in [
        (gpt1, "it is BPE with marks at the ends of words"),
        (models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"), "it is WordLevel"),
    ]:
        tokenizers.Tokenizer(other).save(str(tmp_path / "tokenizer.json"))
        with pytest.raises(DataError, match=message):
            read(tmp_path)


def test_lines_of_vocab_txt(placed, tmp_path):
    """A line ends in a newline only; a piece that occurs twice would move the ids after it."""
    (tmp_path / "vocab.txt").write_bytes("[UNK]\r\na\u2028\r\n\x85\r\nb\r\n".encode())
    ours = placed(read(tmp_path))
    assert [ours.id_to_token(i) for i in range(ours.size)] == ["[UNK]", "a\u2028", "\x85", "b"]
    (tmp_path / "vocab.txt").write_text("[UNK]\na\na\nb\n")
    with pytest.raises(DataError, match="must hold every piece once; 'a' occurs twice"):
        read(tmp_path)


def test_other_word_pieces_are_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("[UNK]\na\n")
    for config in ({"strip_accents": False}, {"tokenize_chinese_chars": False}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        with pytest.raises(DataError, match="wordpiece normalizes as BERT does"):
            read(tmp_path)
    backend = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="must split words as BERT does"):
        read(tmp_path)


def test_damaged_sentencepiece_models_are_refused(learned, tmp_path):
    folder, _ = learned("sentencepiece unigram")
    whole = (folder / "sentencepiece.model").read_bytes()
    broken = whole.replace("▁".encode(), b"\xff\xff\xff", 1)
    for content in (whole[:5000], b"", b"no model", broken):
        (tmp_path / "spiece.model").write_bytes(content)
        with pytest.raises(DataError, match=r"spiece\.model must be a SentencePiece model|whole"):
            read(tmp_path)


@pytest.mark.parametrize(
    "file, content",
    [
        ("tokenizer_config.json", {"extra_ids": "x"}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"900": 1}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}),
        ("added_tokens.json", {"a": "x", "b": 3}),
        ("added_tokens.json", [1]),
    ],
)
def test_damaged_lists_of_added_tokens_are_refused(learned, tmp_path, file, content):
    folder, _ = learned("sentencepiece bpe", 0)
    shutil.copy(folder / "sentencepiece.model", tmp_path / "tokenizer.model")
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(DataError, match="must"):
        read(tmp_path)


def test_a_damaged_table_of_characters_is_refused(learned, tmp_path):
    """The library panics: no Exception."""
    _, tokenizer = learned("sentencepiece unigram lossy")
    _tokenizer_files.write(tokenizer, epath.Path(tmp_path), model_type="t5", max_length=512)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    table = next(s for s in content["normalizer"]["normalizers"] if s["type"] == "Precompiled")
    table["precompiled_charsmap"] = "=" + table["precompiled_charsmap"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"tokenizer\.json must be a tokenizer of Hugging Face"):
        read(tmp_path)


def test_a_model_with_another_copy_is_refused(learned, tmp_path):
    _, tokenizer = learned("sentencepiece unigram")
    other, _ = learned("sentencepiece bpe")
    _tokenizer_files.write(tokenizer, epath.Path(tmp_path), model_type="t5", max_length=512)
    shutil.copy(other / "sentencepiece.model", tmp_path / "spiece.model")
    with pytest.raises(DataError, match=r"must have the same tokens; in .*, id [0-9]+ is"):
        read(tmp_path)
