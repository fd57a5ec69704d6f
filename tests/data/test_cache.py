"""The token cache: right, complete or absent, never stale."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from data_toys import ByteTokenizer, write_lines

from pretrain_jax.data import corpus as corpus_module
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.files import sealed_folder

TEXTS = [f"document {i} " + "words and more\n" * (i % 7) for i in range(150)]


def build(source, folder, half="train", tokenizer=None, **options):
    return open_token_cache(
        open_corpus(source, **options), half, tokenizer or ByteTokenizer(), folder
    )


def test_documents_come_back_token_for_token(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", TEXTS)
    for half in ("train", "valid"):
        cache = build(source, tmp_path / "cache", half)
        texts = ["".join(document) for document in open_corpus(source).documents(half)]
        assert [bytes(cache[i].astype(np.uint8)).decode() for i in range(len(cache))] == texts
        assert cache.tokens.dtype == np.uint16 and cache.offsets.dtype == np.int64
        assert cache.text_bytes == len("".join(texts)) and cache.split_method == "hash"


def test_more_than_65536_ids_are_kept_in_32_bits(tmp_path):
    class Large(ByteTokenizer):
        size = (1 << 16) + 1
        fingerprint = "large"

        def __init__(self):
            self.shift = 0

        def encode(self, text):
            return super().encode(text) + (1 << 16) - 255

    (tmp_path / "a.txt").write_text("abcdefghijklmnop")
    cache = build(f"text:{tmp_path}/a.txt", tmp_path / "cache", tokenizer=Large())
    assert cache.tokens.dtype == np.uint32
    assert cache[0].tolist() == [c + (1 << 16) - 255 for c in b"abcdefghijklmn"]


def test_an_id_outside_the_vocabulary_is_an_error(tmp_path):
    tokenizer = ByteTokenizer()
    tokenizer.size = 100
    (tmp_path / "a.txt").write_text("zzzzzzzzzzzzzzzz")
    with pytest.raises(ValueError, match="100 ids gave id 122"):
        build(f"text:{tmp_path}/a.txt", tmp_path / "cache", tokenizer=tokenizer)


def test_a_cache_is_used_again(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", TEXTS)
    first = build(source, tmp_path / "cache")

    class Never(ByteTokenizer):
        def encode(self, text):
            raise AssertionError("tokenized again")

    assert build(source, tmp_path / "cache", tokenizer=Never()).fingerprint == first.fingerprint


def test_changed_text_is_not_served_from_a_stale_cache(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", TEXTS)
    first = build(source, tmp_path / "cache")
    times = os.stat(tmp_path / "a.jsonl")
    write_lines(tmp_path / "a.jsonl", [text.replace("words", "Words") for text in TEXTS])
    os.utime(tmp_path / "a.jsonl", ns=(times.st_atime_ns, times.st_mtime_ns))
    second = build(source, tmp_path / "cache")
    assert second.fingerprint != first.fingerprint
    assert b"Words" in second.tokens.astype(np.uint8).tobytes()


def test_another_tokenizer_is_not_served_from_a_stale_cache(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", TEXTS)
    first = build(source, tmp_path / "cache")
    second = build(source, tmp_path / "cache", tokenizer=ByteTokenizer(shift=1))
    assert second.fingerprint != first.fingerprint
    assert second.tokens[0] == first.tokens[0] + 1


def test_another_split_is_not_served_from_a_stale_cache(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", TEXTS)
    caches = [build(source, tmp_path / "cache", split=split) for split in ("hash", "tail")]
    assert [cache.split_method for cache in caches] == ["hash", "tail"]
    assert caches[0].fingerprint != caches[1].fingerprint


def test_another_field_is_not_served_from_a_stale_cache(tmp_path):
    lines = [json.dumps({"text": f"text {i}", "body": f"BODY {i}"}) for i in range(150)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    for key, begin in (("text", b"text"), ("body", b"BODY")):
        cache = build(f"text:{tmp_path}/a.jsonl", tmp_path / "cache", text_key=key)
        assert cache.tokens[:4].astype(np.uint8).tobytes() == begin


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.npy", "note.json"])
def test_a_damaged_cache_is_made_anew(tmp_path, caplog, name):
    source = write_lines(tmp_path / "a.jsonl", TEXTS)
    first = build(source, tmp_path / "cache")
    tokens, folder = first.tokens.copy(), first.folder
    del first
    os.truncate(folder / name, (folder / name).stat().st_size - 1)
    np.testing.assert_array_equal(build(source, tmp_path / "cache").tokens, tokens)
    assert "is damaged" in caplog.text


def test_a_build_that_fails_leaves_nothing_that_is_taken_for_a_cache(tmp_path):
    class Fails(ByteTokenizer):
        def encode(self, text):
            raise RuntimeError("out of luck")

    source = write_lines(tmp_path / "a.jsonl", TEXTS)
    with pytest.raises(RuntimeError, match="out of luck"):
        build(source, tmp_path / "cache", tokenizer=Fails())
    assert len(build(source, tmp_path / "cache")) > 100


def test_text_without_a_token_is_refused(tmp_path):
    class Silent(ByteTokenizer):
        def encode(self, text):
            return np.zeros(0, np.int32)

    (tmp_path / "a.txt").write_text("some text that means nothing")
    with pytest.raises(DataError, match="must have at least one token"):
        build(f"text:{tmp_path}/a.txt", tmp_path / "cache", tokenizer=Silent())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "a.txt").write_text("some text, long enough")
    with pytest.raises(ConfigError, match=r"data\.cache_dir must be writable; .*file"):
        build(f"text:{tmp_path}/a.txt", tmp_path / "file")


def test_a_folder_in_no_home_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("some text, long enough")
    with pytest.raises(ConfigError, match=r"data\.cache_dir must be a path; ~nobody-at-all"):
        build(f"text:{tmp_path}/a.txt", "~nobody-at-all/cache")


def test_a_disk_that_is_full_is_told(tmp_path):
    def build(folder):
        (folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "tokens"))

    with pytest.raises(ConfigError, match=r"have enough space.* No space left on device"):
        sealed_folder.ensure(tmp_path / "made", lambda folder: folder.exists(), build)
    assert [path.name for path in tmp_path.iterdir()] == ["made.lock"]


def build_in_process(source: str, folder: Path, gate, answers) -> None:
    gate.wait()
    answers.put(build(source, folder).fingerprint)


def test_two_processes_build_the_same_cache_at_once(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", TEXTS * 20)
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(2), context.Queue()
    arguments = (source, tmp_path / "cache", gate, answers)
    processes = [context.Process(target=build_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    found = {answers.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert found == {build(source, tmp_path / "cache").fingerprint}
    assert [process.exitcode for process in processes] == [0, 0]
    left = sorted(path.suffix for path in (tmp_path / "cache").iterdir())
    assert left == ["", ".lock"]


def test_documents_in_many_pieces_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "BLOCK_CHARACTERS", 64)
    long = "a line of some length\n" * 300
    source = write_lines(tmp_path / "a.jsonl", [long + str(i) for i in range(120)])
    cache = build(source, tmp_path / "cache")
    assert len(cache) > 100
    for i in range(len(cache)):
        assert bytes(cache[i].astype(np.uint8)).decode().startswith(long)


def test_gpt2_ids_do_not_depend_on_where_pieces_are_cut(tmp_path):
    byte_bpe = pytest.importorskip("pretrain_jax.tokenizers.byte_bpe")
    text = "".join(sorted_source())
    byte_bpe.train([text], tmp_path, vocab_size=800)
    tokenizer = byte_bpe.load(tmp_path)
    for whole in (text, text.replace("\n", " ")):
        for limit in (500, 4096):
            cut = [
                tokenizer.encode(piece) for piece in corpus_module.split_into_blocks([whole], limit)
            ]
            np.testing.assert_array_equal(np.concatenate(cut), tokenizer.encode(whole))


def sorted_source():
    package = Path(corpus_module.__file__).parent
    for path in sorted(package.rglob("*.py")):
        yield path.read_text()
        yield "\n\n  \n\tçé 12,345's   don't\n"
