"""The history of a run in its workdir: metrics, samples, and the newest saved step.

A resumed run drops lines beyond the step that it resumes from, since it writes them again. If a
checkpoint of a later step has disappeared, it drops lines only with --go_back.
"""

import json
import logging
import re
from typing import Any

from etils import epath

from pretrain_jax.errors import DataError, WorkdirMismatch
from pretrain_jax.files import outputs, parsing
from pretrain_jax.workdir import run_config

log = logging.getLogger(__name__)
METRICS = "metrics.jsonl"
SAMPLES = "samples.txt"
SAVED = "saved.json"
"""{"step": 200}: the newest step known to be committed. It is outside of `checkpoints/`, so it
remains if that folder is deleted."""
HEADING = re.compile(r"^==== step ([0-9]{1,18}) ====$", re.MULTILINE)
"""A sample may have similar lines, with a number that no run reaches and that `int` refuses."""
Line = dict[str, Any]


def check_not_lost(path: epath.Path, step: int, every: int, go_back: bool) -> None:
    """Raises WorkdirMismatch if the run in `path` saved a later step than `step`.

    step: the step to resume from; 0 means none. go_back: copies the files that will lose lines,
    instead of raising. every: `checkpoint.every`, in case config.json has none.
    """
    reached = max((line["step"] for line in read_metrics(path)), default=0)
    saved = _read_saved(path)
    if saved is None:
        saved = _estimate_saved(reached, _stored_every(path, every))
    if step >= saved:
        return
    newest = f"the newest one is step {step}" if step else "there is none"
    lost = f"the run in {path} saved step {saved} and wrote metrics up to step {reached}"
    if not go_back:
        raise WorkdirMismatch(
            f"{lost}, so its checkpoint must be in {path / 'checkpoints'}, but {newest}. Put it "
            "back; start in another --workdir; or add --go_back to resume from the newest one: "
            f"{METRICS} and {SAMPLES} are first copied to NAME.before_1"
        )
    for name in (METRICS, SAMPLES):
        if (path / name).exists():
            copy = unused_path(path, f"{name}.before_")
            outputs.write_atomic(copy, (path / name).read_bytes())
            log.warning("%s; going back to step %d: copied the file to %s", lost, step, copy)
    record_saved(path, step)


def record_saved(path: epath.Path, step: int) -> None:
    """Records that a step is committed. Raises UnwritableWorkdir."""
    outputs.write_atomic(path / SAVED, (json.dumps({"step": step}) + "\n").encode())


def read_metrics(path: epath.Path) -> list[Line]:
    """The valid lines of metrics.jsonl in a workdir. Raises DataError."""
    return _parse_lines(_read_text(path / METRICS))[0]


def read_samples(path: epath.Path) -> list[tuple[int, str]]:
    """(step, text) of each sample in samples.txt of a workdir. Raises DataError."""
    parts = HEADING.split(_read_text(path / SAMPLES))[1:]
    return [
        (int(step), text.strip("\n")) for step, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def truncate_metrics(path: epath.Path, step: int) -> list[Line]:
    """Drops lines beyond `step` (0: all lines) from metrics.jsonl; returns the others.

    Also drops the incomplete last line of a killed process. If there are other invalid lines, the
    file has content of the user: copies it first.
    """
    content = _read_text(path / METRICS)
    lines, texts = _parse_lines(content)
    if len(texts) < len(content.split("\n")) - 1:
        copy = unused_path(path, f"{METRICS}.before_")
        outputs.write_atomic(copy, content.encode())
        log.warning("%s has lines that no run writes: copied it to %s", METRICS, copy)
    keeps = [bool(step) and line["step"] <= step for line in lines]
    kept = "".join(f"{text}\n" for text, keep in zip(texts, keeps, strict=True) if keep)
    if kept != content:
        count = content.count("\n") - sum(keeps)
        log.info("%s: dropped %d lines after step %d; the run repeats them", METRICS, count, step)
        outputs.write_atomic(path / METRICS, kept.encode())
    return [line for line, keep in zip(lines, keeps, strict=True) if keep]


def truncate_samples(path: epath.Path, step: int, evaluated: bool) -> None:
    """Drops samples beyond `step` from samples.txt.

    evaluated: whether metrics.jsonl has the evaluation of that step. If not, also drops the sample
    of that step, which a run writes before the line.
    """
    text = _read_text(path / SAMPLES)
    last = step if evaluated else step - 1
    beyond = (heading for heading in HEADING.finditer(text) if int(heading[1]) > last)
    first = next(beyond, None)
    if first is not None:
        outputs.write_atomic(path / SAMPLES, text[: first.start()].encode())


def unused_path(folder: epath.Path, prefix: str) -> epath.Path:
    """The first of `prefix`1, `prefix`2, ... that does not exist."""
    numbers = iter(range(1, 1 << 30))
    return next(p for n in numbers if not (p := folder / f"{prefix}{n}").exists())


def _estimate_saved(reached: int, every: int) -> int:
    """The newest step that a run of older code, without saved.json, must have committed.

    A save is complete when the next one begins: after step 75 with every=25, step 50 is committed.

    >>> _estimate_saved(76, every=25)
    50
    """
    return max(0, (reached - 1) // every * every - every)


def _read_saved(path: epath.Path) -> int | None:
    """The step in saved.json; None without that file. Raises DataError."""
    file, fix = path / SAVED, "fix or delete it"
    content = outputs.read_json(file, fix)
    if content is None:
        return None
    step = parsing.check_keys({"step": int}, content, str(file), fix)["step"]
    if not _is_step(step):
        raise DataError(f'"step" in {file} must be 0 or more; it is {step}; {fix}')
    return step


def _stored_every(path: epath.Path, every: int) -> int:
    """`checkpoint.every` of config.json, or `every` if it has none."""
    section = (run_config.read_config(path) or {}).get("checkpoint")
    stored = section.get("every") if isinstance(section, dict) else None
    return stored if _is_step(stored) and stored else every


def _read_text(path: epath.Path) -> str:
    """The content of a file; "" if it does not exist. Raises DataError."""
    content = outputs.read_bytes(path)
    try:
        return (content or b"").decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be the UTF-8 text that a run wrote; {error}. Fix it or move it away"
        ) from error


def _parse_lines(text: str) -> tuple[list[Line], list[str]]:
    """The valid lines of metrics in a text, parsed and as text."""
    pairs = [(line, text) for text in text.splitlines() if (line := _parse_line(text))]
    return [line for line, _ in pairs], [text for _, text in pairs]


def _parse_line(text: str) -> Line | None:
    """A line of metrics; None if it is invalid."""
    try:
        line = parsing.parse_json_as(text, dict, METRICS, "")
    except DataError:
        return None
    return line if _is_step(line.get("step")) else None


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
