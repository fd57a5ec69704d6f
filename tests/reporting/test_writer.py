"""Files read back exactly, and those of a resumed run equal those of an uninterrupted one."""

import contextlib
import io
import json
import math
import os
import struct
import subprocess
import sys
import termios

import event_files
import numpy as np
import pytest

from pretrain_jax.errors import UnwritableWorkdir
from pretrain_jax.reporting import plot
from pretrain_jax.reporting.writer import Progress, Writer
from pretrain_jax.training.throughput import Throughput


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def scalars(workdir):
    return [
        (event["step"], tag, value)
        for event in event_files.events(workdir / "tensorboard")
        for tag, value in event["scalars"].items()
    ]


def test_floats_read_back_to_the_same_bits(tmp_path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 500, dtype=np.uint32).view(np.float32)
    values = bits[np.isfinite(bits)]
    tiny = np.float32(1e-45)
    with Writer(tmp_path, 0) as writer:
        for step, value in enumerate([*values, tiny]):
            writer.write(step, {"train/loss": value, "seconds": float(value) / 3})
    for line, value in zip(lines(tmp_path), [*values, tiny], strict=True):
        assert np.float32(line["train/loss"]).tobytes() == value.tobytes()
        assert line["seconds"] == float(value) / 3


def test_a_line_is_on_disk_when_write_returns(tmp_path):
    with Writer(tmp_path, 0) as writer:
        for step in range(1, 4):
            writer.write(step, {"train/loss": 1.0})
            assert [line["step"] for line in lines(tmp_path)] == list(range(1, step + 1))


def test_nan_and_infinity_are_valid_json(tmp_path):
    with Writer(tmp_path, 0) as writer:
        writer.write(1, {"a": math.nan, "b": np.float32("-inf"), "c": None, "d": np.int64(3)})
        writer.write(2, {"a": 1.0})
    text = (tmp_path / "metrics.jsonl").read_text().splitlines()

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    first, second = (json.loads(line, parse_constant=refuse) for line in text)
    assert first == {
        "step": 1,
        "a": None,
        "b": None,
        "c": None,
        "d": 3,
        "non_finite": {"a": "nan", "b": "-inf"},
    }
    assert second == {"step": 2, "a": 1.0}
    assert scalars(tmp_path) == [(1, "d", 3.0), (2, "a", 1.0)]


def test_a_resumed_run_drops_later_lines_and_an_incomplete_line(tmp_path):
    with Writer(tmp_path, 0) as writer:
        for step in range(1, 6):
            writer.write(step, {"train/loss": step / 10})
    straight = (tmp_path / "metrics.jsonl").read_text()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "train/lo')
    with Writer(tmp_path, restored_step=3) as writer:
        assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]
        for step in (4, 5):
            writer.write(step, {"train/loss": step / 10})
    assert (tmp_path / "metrics.jsonl").read_text() == straight
    starts = [e["step"] for e in event_files.events(tmp_path / "tensorboard") if e["starts"]]
    assert starts == [0, 4]


def test_an_existing_line_is_not_written_again(tmp_path):
    with Writer(tmp_path, 0) as writer:
        assert writer.write(3, {"train/loss": 1.0})
        assert writer.write(3, {"valid/loss": 2.0})
    with Writer(tmp_path, 3) as writer:
        assert not writer.write(3, {"valid/loss": 2.0})
        assert writer.write(3, {"valid/loss": 1.5})  # of more held-out text
        assert writer.write(4, {"valid/loss": 2.0})
    assert lines(tmp_path) == [
        {"step": 3, "train/loss": 1.0},
        {"step": 3, "valid/loss": 2.0},
        {"step": 3, "valid/loss": 1.5},
        {"step": 4, "valid/loss": 2.0},
    ]


def test_a_run_that_starts_over_keeps_nothing(tmp_path):
    for _ in range(2):
        with Writer(tmp_path, 0) as writer:
            writer.write(0, {"valid/loss": 5.0})
            writer.write(1, {"train/loss": 5.0})
    assert [line["step"] for line in lines(tmp_path)] == [0, 1]


def test_readers_ignore_keys_that_they_do_not_know(tmp_path):
    line = {"step": 3, "train/loss": 1.0, "tokens": 96, "seconds": 0.5, "new": {"key": [1]}}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    with Writer(tmp_path, restored_step=3) as writer:
        writer.write(4, {"train/loss": 2.0})
    assert lines(tmp_path) == [line, {"step": 4, "train/loss": 2.0}]


def test_the_plot_compares_the_training_with_the_validation_objective():
    """ELECTRA's objective is far from its `train/loss`; earlier lines have `train/loss` alone."""
    curves: plot.Curves = {}
    plot.record_line(curves, {"step": 1, "train/loss": 7.0, "tokens": 128, "seconds": 0.5})
    plot.record_line(curves, {"step": 2, "train/loss": 6.5, "train/objective": 31.0})
    plot.record_line(curves, {"step": 2, "valid/objective": 30.0, "valid/loss": 6.0})
    for step, baseline in ((2, 3.0), (4, 3.5)):
        values = {"yardstick/unigram": baseline, "yardstick/always_original": 0.9}
        plot.record_line(curves, {"step": step, "valid/accuracy": 0.1, **values})
    assert curves == {
        "train/objective": [(1, 7.0), (2, 31.0)],
        "valid/objective": [(2, 30.0)],
        "valid/loss": [(2, 6.0)],
        "yardstick/unigram": [(4, 3.5)],
    }


def png_size(path):
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:])


def test_the_plot_has_the_curves_of_earlier_processes(tmp_path):
    with Writer(tmp_path, 0) as writer:
        writer.write(1, {"tokens_per_second": 5.0})
    assert not (tmp_path / "loss.png").exists()
    with Writer(tmp_path, 1) as writer:
        for step in range(2, 12000):
            writer._curves.setdefault("train/objective", []).append((step, 1 / step))
        writer.write(12000, {"valid/loss": 2.0, "yardstick/uniform": 5.5, "yardstick/bigram": 3.0})
        writer.draw()
    assert png_size(tmp_path / "loss.png") == (800, 500)
    before = (tmp_path / "loss.png").read_bytes()
    with Writer(tmp_path, 12000) as writer:
        writer.draw()
        writer.draw()
    assert png_size(tmp_path / "loss.png") == (800, 500)
    assert (tmp_path / "loss.png").read_bytes() != before
    assert not list(tmp_path.glob("*.tmp"))


def test_an_error_of_the_plot_is_raised_at_the_end(tmp_path):
    writer = Writer(tmp_path, 0)
    writer.write(1, {"train/loss": 1.0})
    (tmp_path / "loss.png").mkdir()
    with pytest.raises(UnwritableWorkdir, match=r"loss.png"):
        writer.close()


def test_an_error_of_the_plot_does_not_hide_another_error(tmp_path):
    (tmp_path / "loss.png").mkdir()
    with pytest.raises(KeyError) as error, Writer(tmp_path, 0) as writer:
        writer.write(1, {"train/loss": 1.0})
        raise KeyError("first")
    assert "loss.png" in error.value.__notes__[0]


def test_a_plot_that_cannot_be_drawn_is_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(plot, "render_png", lambda *_: 1 / 0)
    with Writer(tmp_path, 0) as writer:
        writer.write(1, {"train/loss": 1.0})
        writer.draw()
    assert "loss.png could not be drawn: ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.txt", "tensorboard"])
def test_an_unwritable_output_is_named(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(UnwritableWorkdir, match=name), Writer(tmp_path, 0) as writer:
        writer.write(1, {"train/loss": 1.0}, "a sample")


def test_samples_are_appended(tmp_path):
    for step in (0, 10):
        with Writer(tmp_path, step) as writer:
            writer.write(step, {"valid/loss": 1.0}, "once upon\na time")
    text = (tmp_path / "samples.txt").read_text()
    assert text == "".join(f"==== step {n} ====\nonce upon\na time\n\n" for n in (0, 10))


def test_samples_after_the_restored_step_are_dropped(tmp_path):
    with Writer(tmp_path, 0) as writer:
        for step in (10, 20, 30):
            writer.write(step, {"valid/objective": 1.0}, f"sample of {step}")
    straight = (tmp_path / "samples.txt").read_text()
    with Writer(tmp_path, 20) as writer:
        assert writer.evaluated
        writer.write(30, {"valid/objective": 1.0}, "sample of 30")
    assert (tmp_path / "samples.txt").read_text() == straight


def test_a_sample_whose_line_is_missing_is_written_again(tmp_path):
    with Writer(tmp_path, 0) as writer:
        writer.write(10, {"valid/objective": 1.0}, "sample of 10")
        writer.write(20, {"train/loss": 1.0})
        writer._append("samples.txt", "==== step 20 ====\nsample")  # killed before the line
    with Writer(tmp_path, 20) as writer:
        assert not writer.evaluated
        writer.write(20, {"valid/objective": 1.0}, "sample of 20")
    text = (tmp_path / "samples.txt").read_text()
    assert text == "".join(f"==== step {n} ====\nsample of {n}\n\n" for n in (10, 20))


def test_no_tensorflow_no_jax_and_no_pyplot(tmp_path):
    code = (
        "import sys\n"
        "from pretrain_jax.reporting.writer import Writer\n"
        "with Writer(sys.argv[1], 0) as writer: writer.write(1, {'train/loss': 1.0})\n"
        "print({'tensorflow', 'torch', 'jax', 'matplotlib.pyplot'} & sys.modules.keys())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_throughput_excludes_blocks_put_aside():
    clock = Clock()
    throughput = Throughput(clock)
    with throughput.excluded():
        clock.now += 60  # compilation
    for _ in range(4):
        clock.now += 0.5
        throughput.count(1000)
    with pytest.raises(KeyError), throughput.excluded():
        clock.now += 7
        raise KeyError
    assert throughput.read() == 2000.0
    assert throughput.read() is None
    clock.now += 2
    throughput.count(1000)
    assert throughput.read() == 500.0


def test_without_a_terminal_there_are_plain_lines_at_intervals():
    clock = Clock()
    stream = io.StringIO()
    with Progress(total=110, restored_step=100, stream=stream, seconds=10, clock=clock) as progress:
        clock.now += 500  # compilation
        for step in range(101, 111):
            clock.now += 4
            progress.update(step, loss=1 / step, tokens_per_second=51234.0, mfu=0.4125)
        progress.print_line("done")
    assert stream.getvalue().splitlines() == [
        "step 101/110, loss 0.010, 51.2k tokens/s, MFU 41.2%",
        "step 104/110, loss 0.010, 51.2k tokens/s, MFU 41.2%, 00:24 left",
        "step 107/110, loss 0.009, 51.2k tokens/s, MFU 41.2%, 00:12 left",
        "step 110/110, loss 0.009, 51.2k tokens/s, MFU 41.2%",
        "done",
    ]


def read_all(controller):
    """The output that the terminal received; reading ends with EIO when the other end is closed."""
    received = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(controller, 65536):
            received += chunk
    os.close(controller)
    return received.decode()


def test_a_terminal_without_columns_gets_lines():
    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (0, 0))
    with (
        os.fdopen(terminal, "w") as stream,
        Progress(total=9, restored_step=0, stream=stream) as progress,
    ):
        progress.update(1, loss=2.5)
    assert read_all(controller) == "step 1/9, loss 2.500\r\n"


def test_unknown_numbers_are_not_shown():
    stream = io.StringIO()
    with Progress(total=9, restored_step=0, stream=stream) as progress:
        progress.update(1)
        progress.update(2, loss=2.5)
    assert stream.getvalue() == "step 2/9, loss 2.500\n"


def test_on_a_terminal_a_bar_that_survives_restarts():
    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    clock = Clock()
    with (
        os.fdopen(terminal, "w", encoding="utf-8") as stream,
        Progress(total=400, restored_step=100, stream=stream, clock=clock) as progress,
    ):
        clock.now += 300
        progress.update(101)
        clock.now += 1
        progress.update(102, loss=3.25, tokens_per_second=2e6)
        clock.now += 98
        progress.update(200)
        progress.print_line("validation 3.1")
    shown = read_all(controller)
    assert "25%|" in shown.split("\r")[1]  # starts at the restored step
    assert "200/400" in shown
    assert (
        "loss 3.250, 2.00M tokens/s, 03:20 left" in shown
    )  # 1 s per step, without the first 300 s
    assert "validation 3.1" in shown
