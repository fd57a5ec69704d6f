"""The charts of a report: which curves, of which runs, with which points."""

from collections.abc import Iterator, Sequence
from typing import Any

from pretrain_jax.reporting.run_files import Run

POINTS = 1_500
"""Most points of a curve; a chart is about 400 pixels wide."""
CHARTS = (
    ("Held-out loss", "nats per token", ("valid/loss",)),
    ("Objective", "minimized", ("train/objective", "valid/objective")),
    ("Bits per byte", "held-out text", ("valid/bits_per_byte",)),
    ("Learning rate", "", ("train/learning_rate",)),
    ("Gradient norm", "before clipping", ("train/grad_norm",)),
    ("Throughput", "tokens per second", ("tokens_per_second",)),
    ("Model FLOPs utilization", "", ("mfu",)),
)
"""(title, unit, keys) of the first charts."""
NOISY = ("train/", "tokens_per_second", "mfu")
"""Keys with these beginnings can be smoothed."""
BASELINE, ACCURACY = "yardstick/", "yardstick/always_"
SHOWN = {key for _, _, keys in CHARTS for key in keys}
COUNTS = {"valid/tokens", "valid/items", "valid/perplexity", "valid/unknown"}
"""Keys that have no chart: numbers of things, and what another chart shows."""


def make_charts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The charts, each {"title", "unit", "series"}; those without a curve are left out."""
    charts = [chart(runs, title, unit, keys) for title, unit, keys in CHARTS]
    charts[0]["series"] += [line for run in enumerate(runs) for line in baselines(*run)]
    charts += [skill(runs, task, metric) for task, metric in skills(runs)]
    more = dict.fromkeys(key for run in runs for key in run.keys if is_other_metric(key))
    charts += [chart(runs, key.removeprefix("valid/").replace("_", " "), "held-out text", (key,))
               for key in more]  # fmt: skip
    return [made for made in charts if made["series"]]


def is_other_metric(key: str) -> bool:
    """Whether a key of an evaluation has a chart of its own."""
    return key.startswith("valid/") and key not in SHOWN | COUNTS


def chart(runs: Sequence[Run], title: str, unit: str, keys: Sequence[str]) -> dict[str, Any]:
    """A chart with a curve for each run and key."""
    series = []
    for number, run in enumerate(runs):
        for key in keys:
            points = thin(run.series(key))
            if points:
                name = f"{run.name} {key.split('/')[0]}" if len(keys) > 1 else run.name
                dash = "5 3" if len(keys) > 1 and key.startswith("train/") else ""
                series.append(curve(name, number, points, dash, noisy=key.startswith(NOISY)))
    return {"title": title, "unit": unit, "series": series}


def curve(
    name: str, run: int, points: Sequence[Sequence[float | None]], dash: str = "", **more: Any
) -> dict[str, Any]:
    """A curve of the run of a number, which chooses its color."""
    basic = {"name": name, "run": run, "color": run % 8, "dash": dash, "points": points}
    return {**basic, **more}


def baselines(number: int, run: Run) -> Iterator[dict[str, Any]]:
    """Level lines: the losses that counting alone reaches."""
    for key in run.keys:
        value = run.last(key)
        if key.startswith(BASELINE) and not key.startswith(ACCURACY) and value is not None:
            name = f"{run.name} {key.removeprefix(BASELINE)}"
            yield curve(name, number, [(run.step, value)], "2 3", level=True)


def skills(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """(task, metric) of each chart of a task: its first metric."""
    found: dict[str, str] = {}
    for run in runs:
        for results in run.tasks.values():
            for name, result in results.items():
                found.setdefault(name, next(iter(result["metrics"]), ""))
        for key in run.keys:
            kind, _, rest = key.partition("/")
            task, _, metric = rest.partition("/")
            if kind == "tasks" and metric != "items":
                found.setdefault(task, metric)
    return [(task, metric) for task, metric in found.items() if metric]


def skill(runs: Sequence[Run], task: str, metric: str) -> dict[str, Any]:
    """The curve of a task: points with intervals where it was evaluated on all its items, and those
    of evaluations during training elsewhere."""
    series = []
    for number, run in enumerate(runs):
        points: dict[int, tuple[float | None, ...]] = {
            step: (step, value) for step, value in run.series(f"tasks/{task}/{metric}")
        }
        for step, results in run.tasks.items():
            value = results.get(task, {}).get("metrics", {}).get(metric)
            if value and value.get("value") is not None:
                points[step] = (step, value["value"], value.get("low"), value.get("high"))
        if points:
            series.append(curve(run.name, number, [points[step] for step in sorted(points)]))
    series += levels(runs, task, metric)
    return {"title": f"{task}: {metric}", "unit": "", "series": series}


def levels(runs: Sequence[Run], task: str, metric: str) -> Iterator[dict[str, Any]]:
    """Level lines: guessing and n-gram models. A line for each run, since they depend on its
    tokenizer and text; one for all runs if all have the same value."""
    found = [yardsticks(run, task, metric) for run in runs]
    for name in dict.fromkeys(name for values in found for name in values):
        values = [of.get(name) for of in found]
        if len(set(values)) == 1:
            yield curve(name, 0, [(runs[0].step, values[0])], "2 3", level=True, color=7)
            continue
        for number, (run, value) in enumerate(zip(runs, values, strict=True)):
            if value is not None:
                yield curve(f"{run.name} {name}", number, [(run.step, value)], "2 3", level=True)


def yardsticks(run: Run, task: str, metric: str) -> dict[str, float]:
    """The values of guessing and of n-gram models, from the last results that have them."""
    found: dict[str, float] = {}
    for results in run.tasks.values():
        result = results.get(task, {})
        chance = result.get("metrics", {}).get(metric, {}).get("chance")
        named = {"chance": chance} | {
            name: values.get(metric) for name, values in result.get("yardsticks", {}).items()
        }
        found |= {name: value for name, value in named.items() if value is not None}
    return found


def make_axes(runs: Sequence[Run]) -> dict[str, list[list[tuple[int, float]]]]:
    """(step, tokens) and (step, seconds) of each run, for the other x axes."""
    return {key: [thin(run.series(key)) for run in runs] for key in ("tokens", "seconds")}


def thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most POINTS of the points, evenly; the last is always there."""
    every = -(-len(points) // POINTS)
    return [point for i, point in enumerate(points) if (len(points) - 1 - i) % max(every, 1) == 0]
