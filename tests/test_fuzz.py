"""100 fuzzed overrides (benchmarks/fuzz.py tries 1,500)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import fuzz  # pyright: ignore[reportMissingImports]


def test_no_override_ends_in_a_traceback_or_is_executed(capsys):
    assert fuzz.main(["--count=100", "--seed=1", "--processes=1"]) == 0
    output = capsys.readouterr().out
    assert "ended with 64" in output and "fault" not in output


@pytest.mark.parametrize("fault", [ZeroDivisionError, TimeoutError])
def test_a_fault_is_found(monkeypatch, capsys, fault):
    def broken(*_):
        raise fault

    monkeypatch.setattr("pretrain_jax.composition.build.fix_schedule", broken)
    assert fuzz.main(["--count=30", "--seed=1", "--processes=0"]) == 1
    assert f"\n{fault.__name__}" in capsys.readouterr().out


def test_what_was_executed_is_found(monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "check_case", lambda *_: Path(fuzz.CANARY).touch() or "0")
    assert fuzz.main(["--count=2", "--processes=0"]) == 1
    assert f"executed or written: {fuzz.CANARY}" in capsys.readouterr().out
