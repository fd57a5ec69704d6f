"""What a workdir says of the run so far, and how it is cut to the step that a run goes on from.

Lines beyond that step are dropped, for the run writes them again. This holds for the tail that no
checkpoint had yet; where a checkpoint is gone that was there, nothing may be dropped unasked.
"""

import json
import logging
import math
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
"""{"step": 200}: the newest step that is known to be committed; beside `checkpoints/`, so that it
stays when that folder goes."""
HEADING = re.compile(r"^==== step (\d+) ====$", re.MULTILINE)
Line = dict[str, Any]


def check(path: epath.Path, step: int, every: int, go_back: bool) -> None:
    """Raises WorkdirMismatch where the run in `path` had saved a later step than `step`, the one
    that it would go on from (0: none); with `go_back` keeps copies of what will be dropped.

    every: `checkpoint.every`, where config.json has none.
    """
    reached = max((line["step"] for line in lines(path)), default=0)
    recorded = _recorded(path)
    had = _surely_saved(reached, _stored_every(path, every)) if recorded is None else recorded
    if step >= had:
        return
    here = f"the newest there is step {step}" if step else "there is none"
    lost = f"a run in {path} had saved step {had} and written lines to step {reached}"
    if not go_back:
        raise WorkdirMismatch(
            f"{lost}, so its checkpoint must be in {path / 'checkpoints'}, but {here}. Put it "
            "back; start in another --workdir; or add --go_back to go on from what is there: "
            f"{METRICS} and {SAMPLES} are then kept beside, as NAME.before_1"
        )
    for name in (METRICS, SAMPLES):
        if (path / name).exists():
            aside = unused(path, f"{name}.before_")
            outputs.write_atomic(aside, (path / name).read_bytes())
            log.warning("%s; going back to step %d: the file is kept as %s", lost, step, aside)
    record(path, step)


def record(path: epath.Path, step: int) -> None:
    """Notes that a step is committed. Raises UnwritableWorkdir."""
    outputs.write_atomic(path / SAVED, (json.dumps({"step": step}) + "\n").encode())


def lines(path: epath.Path) -> list[Line]:
    """The lines of metrics.jsonl in a workdir, without what is none. Raises DataError."""
    return _parsed(_text(path / METRICS))[0]


def keep_lines(path: epath.Path, step: int) -> list[Line]:
    """Drops lines beyond `step` (0: all) from metrics.jsonl; returns the others.

    The torn last line of a process that was killed is dropped too. Where other lines are none, the
    file is not only ours: it is kept beside as it was.
    """
    text = _text(path / METRICS)
    lines, texts = _parsed(text)
    if len(texts) < len(text.split("\n")) - 1:
        aside = unused(path, f"{METRICS}.before_")
        outputs.write_atomic(aside, text.encode())
        log.warning("%s has lines that no run writes: as it was, it is kept as %s", METRICS, aside)
    kept = [bool(step) and line["step"] <= step for line in lines]
    whole = "".join(f"{text}\n" for text, keep in zip(texts, kept, strict=True) if keep)
    if whole != text:
        count = text.count("\n") - sum(kept)
        log.info(
            "%s: %d lines behind step %d are dropped; the run repeats them", METRICS, count, step
        )
        outputs.write_atomic(path / METRICS, whole.encode())
    return [line for line, keep in zip(lines, kept, strict=True) if keep]


def keep_samples(path: epath.Path, step: int, evaluated: bool) -> None:
    """Drops samples beyond `step` from samples.txt.

    evaluated: whether the line of that step's evaluation is there; the sample is written before.
    """
    text = _text(path / SAMPLES)
    last = step if evaluated else step - 1
    beyond = (found for found in HEADING.finditer(text) if int(found[1]) > last)
    first = next(beyond, None)
    if first is not None:
        outputs.write_atomic(path / SAMPLES, text[: first.start()].encode())


def unused(folder: epath.Path, beginning: str) -> epath.Path:
    """The first of `beginning`1, `beginning`2, ... that is not there."""
    numbers = iter(range(1, 1 << 30))
    return next(p for n in numbers if not (p := folder / f"{beginning}{n}").exists())


def _surely_saved(reached: int, every: int) -> int:
    """What a run without saved.json, which older code left, had committed at the least.

    A save is awaited when the next one begins: behind step 75 with every=25, step 50 is there.

    >>> _surely_saved(76, every=25)
    50
    """
    return max(0, (reached - 1) // every * every - every)


def _recorded(path: epath.Path) -> int | None:
    file, fix = path / SAVED, "mend or delete it"
    found = outputs.read_json(file, fix)
    if found is None:
        return None
    step = parsing.check_keys({"step": int}, found, str(file), fix)["step"]
    if not _is_step(step):
        raise DataError(f'"step" in {file} must be 0 or more; it is {step}; {fix}')
    return step


def _stored_every(path: epath.Path, every: int) -> int:
    section = (run_config.read_config(path) or {}).get("checkpoint")
    stored = section.get("every") if isinstance(section, dict) else None
    return stored if _is_step(stored) and stored else every


def _text(path: epath.Path) -> str:
    """Of a file of the run; empty where it is not there. Raises DataError."""
    content = outputs.read_bytes(path)
    try:
        return (content or b"").decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be the text that a run wrote; {error}; mend it or move it away"
        ) from error


def _parsed(text: str) -> tuple[list[Line], list[str]]:
    """The lines of a run in a text, and each as it stands there."""
    texts = [line for line in text.splitlines() if math.isfinite(_step_of(line))]
    return [json.loads(line) for line in texts], texts


def _step_of(text: str) -> float:
    """The step of a line; infinite for what is none."""
    try:
        step: Any = parsing.parse_json_as(text, dict, METRICS, "").get("step")
    except DataError:
        return math.inf
    return step if _is_step(step) else math.inf


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
