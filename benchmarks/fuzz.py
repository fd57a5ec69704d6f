"""Fuzzes config overrides: each must end with an exit code and a message, or run.

    python benchmarks/fuzz.py [--count=1500] [--seed=0] [--processes=10]

Draws overrides of several configs (extreme numbers, unicode, code, nested literals, wrong types,
paths, misspelled keys), reads each config and checks its design, as every command does before it
reads data. The last `--processes` cases run in separate processes. Exits with 1 on a traceback, on
a case that takes longer than a minute, and if a value was executed (it would have created a file).
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = (
    "gpt2_nano",
    "bert_nano",
    "t5_nano",
    "ul2_nano",
    "electra_nano",
    "spanbert_nano",
    "gpt3_175b",
)
CASE_SECONDS = 60
CANARY = "executed"
"""A file that exists only if a value was executed."""

NUMBERS = [
    *("0", "-1", "1", "2", "3", "7", "63", "1_000", "0.5", "-0.5", "1e-3", "1.0", "-0.0", "1e400"),
    *("1e-400", "1e39", "1e308", "-1e308", "nan", "inf", "-inf", "2147483647", "2147483648"),
    *("4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
    *("0x" + "f" * 4000, "9" * 5000, "1" + "0" * 300, "1j", "0b1", "1e5", "1e6", "1e9", "1__0"),
]
TEXTS = [
    *(
        "",
        " ",
        "None",
        "True",
        "false",
        "auto",
        "...",
        "\n",
        "\t",
        "\x7f",
        "é",
        "東京",
        "😀",
        "\u202e",
    ),
    *("a" * 10_000, "%s%n", "${HOME}", "$(id)", "`id`", "~", "/", "/etc/passwd", "../../x", "con"),
    *("text:/etc/*", "text:", "stdlib:x", "tfds:", "gs://x/y", "{}", "'", '"', "\\", "lambda: 0"),
]
NESTED = [
    *("()", "[]", "{}", "(1,)", "((0, {}),)", "((0, {'seq_len': 8}),)", "(" * 300 + ")" * 300),
    *("[" * 5000, "((True, {}),)", "((5, {}), (5, {}))", "((0, {'batch_size': 1e9}),)", "{1: 2}"),
    *("(('stdlib', 'causal_lm', 1),)", "(('stdlib', 'span_corruption', 1e-10),)", "((1, 2, 3),)"),
    *("(('stdlib', {'name': 'prefix_lm', 'rate': 5}, 1),)", "(('stdlib', {}, 1),)", "('[',)"),
    *("(('stdlib', {1: 2}, 1),)", "(('stdlib', 'span_corruption', float('nan')),)", "('(a+)+$',)"),
]
CODE = [
    f"__import__('os').system('touch {CANARY}')",
    f"__import__('pathlib').Path('{CANARY}').touch()",
    f"[x for x in [open('{CANARY}', 'w')]]",
    f"(lambda: open('{CANARY}', 'w'))()",
    f"f\"{{open('{CANARY}', 'w')}}\"",
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"$(touch {CANARY})",
    f"; touch {CANARY}",
    f"text:$(touch {CANARY})/*.txt",
]
WORDS = ["full", "dots", "plain", "cpu", "gpu", "float32", "bfloat16", "memory", "prefix", "stream"]
WORDS += ["words", "spans", "tokens", "all", "fixed", "hash", "tail", "proportional"]
CHOICES = {
    "tokenizer.name": ["byte_bpe", "bytes", "chars", "wordpiece", "sentencepiece"],
    "objective.name": ["causal_lm", "masked_lm", "span_corruption", "prefix_lm", "text_to_text"],
    "model.name": ["gpt", "bert", "t5", "llama", "electra", "gopher", "transformer"],
    "optimizer.name": ["adamw", "adafactor", "lamb", "lion", "muon", "sgd"],
    "optimizer.schedule": ["constant", "linear", "cosine", "inverse_square_root"],
}

Overrides = list[tuple[str, str]]


def cases(count: int, seed: int) -> Iterator[tuple[str, Overrides]]:
    """(config file, overrides) of each case; the same for the same seed."""
    from pretrain_jax.composition import config

    draw = random.Random(seed)
    paths = [str(CONFIGS / f"{name}.py") for name in NAMES]
    files: dict[str, Any] = {path: config.read(path) for path in paths}
    known = {
        file: [*config.TOP, *(f"{s}.{key}" for s in config.SECTIONS for key in settings[s])]
        for file, settings in files.items()
    }
    for _ in range(count):
        file = draw.choice(list(files))
        keys = draw.choices(known[file], k=draw.choice((1, 1, 1, 2, 3)))
        yield file, [(misspell(key, draw), draw_value(key, draw)) for key in keys]


def misspell(key: str, draw: random.Random) -> str:
    """Mostly the unchanged key."""
    if draw.random() < 0.95:
        return key
    cut = draw.randrange(len(key))
    return draw.choice([key[:cut], key[cut:], key + ".x", key.upper(), key[:cut] + "é"])


def draw_value(key: str, draw: random.Random) -> str:
    """A value, often of the right type, so that code after parsing is tested too."""
    if key in CHOICES and draw.random() < 0.8:
        return draw.choice(CHOICES[key])
    kinds = (NUMBERS, TEXTS, NESTED, CODE, WORDS)
    return draw.choice(draw.choices(kinds, weights=(6, 2, 2, 1, 2))[0])


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in a block that takes longer."""

    def time_out(*_: object) -> None:
        raise TimeoutError(f"longer than {seconds} seconds")

    previous = signal.signal(signal.SIGALRM, time_out)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def check_case(file: str, overrides: Overrides) -> str:
    """The result of reading and checking: "0", an exit code, or a traceback."""
    import jax

    from pretrain_jax.composition import build, config
    from pretrain_jax.errors import UserError

    try:
        with limited(CASE_SECONDS):
            settings = build.fix_schedule(config.read(file, overrides))
            design = build.build_design(settings, tuple(jax.devices()[:1]))
            design.check()
            return "0"
    except UserError as error:
        return str(error.exit_code) if len(str(error)) > 20 else f"too short a message: {error}"
    except Exception:
        return traceback.format_exc()


def run_case(file: str, overrides: Overrides) -> str:
    """The same for `describe` in a separate process."""
    words = [f"--config.{key}={text}" for key, text in overrides]
    command = [sys.executable, "-m", "pretrain_jax.describe", f"--config={file}", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5 * CASE_SECONDS)
    except (subprocess.TimeoutExpired, ValueError) as error:  # a NUL in an argument
        return f"{type(error).__name__}: {error}"
    known = done.returncode in (0, *range(64, 83)) and "Traceback" not in done.stderr
    return str(done.returncode) if known else done.stderr


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all cases and prints the number of cases by exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=10)
    options = parser.parse_args(arguments)
    import jax

    counts: collections.Counter[str] = collections.Counter()
    faults = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, case in enumerate(cases(options.count, options.seed)):
            in_process = number < options.count - options.processes
            result = check_case(*case) if in_process else run_case(*case)
            counts[result if result.isdigit() else "fault"] += 1
            if not result.isdigit():
                faults.append((case, result))
                print(f"case {number}: {str(case)[:500]}\n{result}", flush=True)
            if number % 100 == 99:
                jax.clear_caches()
        files = os.listdir(folder)
    print(", ".join(f"{n} ended with {code}" for code, n in sorted(counts.items())))
    if files:
        print(f"something was executed or written: {', '.join(files)}")
    return 1 if faults or files else 0


if __name__ == "__main__":
    sys.exit(main())
