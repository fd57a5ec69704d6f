"""XLA's out-of-memory errors become OutOfMemory; its other errors stay unchanged."""

import jax
import jax.numpy as jnp
import pytest

from pretrain_jax import command, main
from pretrain_jax.errors import OutOfMemory
from pretrain_jax.training import loop
from pretrain_jax.xla import oom


def allocate_too_much():
    jnp.zeros(1 << 45).block_until_ready()


def test_out_of_memory_explains_the_fix():
    message = r"allocating 140737488355328 bytes.*model\.remat=dots"
    with pytest.raises(OutOfMemory, match=message), oom.explain():
        allocate_too_much()


def test_other_errors_pass():
    with pytest.raises(jax.errors.JaxRuntimeError, match="NOT_FOUND"), oom.explain():
        raise jax.errors.JaxRuntimeError("NOT_FOUND: a device")


def test_a_command_ends_with_its_code_and_no_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("pretrain_jax.xla.malloc.keep_freed_memory", lambda: False)
    monkeypatch.setattr(loop, "train", lambda *_: allocate_too_much())
    words = ["main", "--config=configs/gpt2_nano.py", f"--workdir={tmp_path}"]
    monkeypatch.setattr("sys.argv", words)
    assert command.run(main.main, main.__doc__) == 71
    text = capsys.readouterr().err
    assert text.startswith("OutOfMemory: ") and "Traceback" not in text
