"""The report of runs: one HTML file that needs no network."""

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from pretrain_jax.nested_diff import diff
from pretrain_jax.reporting.charts import make_axes, make_charts
from pretrain_jax.reporting.run_files import Run

SAMPLES = 5
"""Samples of a run, the last ones."""
SUMMARY = {
    "valid/loss": "held-out loss",
    "valid/bits_per_byte": "bits per byte",
    "train/loss": "training loss",
    "tokens": "tokens",
    "seconds": "seconds",
    "tokens_per_second": "tokens/s",
    "mfu": "MFU",
}
"""Keys of the summary, with the heads of their columns."""
CONTROLS = """
<div id="controls">
<label>x axis <select id="axis"><option>step</option><option>tokens</option>
<option>seconds</option></select></label>
<label><input type="checkbox" id="logx"> log x</label>
<label><input type="checkbox" id="logy"> log y</label>
<label>smoothing <input type="range" id="smooth" min="0" max="0.98" step="0.02" value="0"></label>
</div>
"""


def make_page(runs: Sequence[Run], refresh: int = 0, data: Mapping[str, str] | None = None) -> str:
    """The page.

    refresh: seconds after which a browser loads it again; 0 = never. data: what the runs are
    trained on, as text, by the name of the run.
    """
    curves = {"charts": make_charts(runs), "axes": make_axes(runs)}
    title = ", ".join(run.name for run in runs)
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    body = "\n".join(
        line
        for section in (summary(runs), charts(), tasks(runs), samples(runs), texts(data or {}),
                        configs(runs), origins(runs))
        for line in section
    )  # fmt: skip
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{again}
<title>{escape(title)}</title>
<style>
{read("style.css")}
</style>
</head>
<body>
<h1>{escape(title)}</h1>
{body}
<script type="application/json" id="data">{to_script(curves)}</script>
<script>
{read("charts.js")}
</script>
</body>
</html>
"""


def read(name: str) -> str:
    """A part of the page."""
    return (resources.files("pretrain_jax.reporting.page") / name).read_text(encoding="utf-8")


def to_script(data: Any) -> str:
    """JSON that no text in it can end: "<" is written as an escape."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def escape(text: Any) -> str:
    return html.escape(str(text))


def summary(runs: Sequence[Run]) -> Iterator[str]:
    """The last values of each run."""
    yield "<h2>Summary</h2>"
    keys = [key for key in SUMMARY if any(run.last(key) is not None for run in runs)]
    heads = ["run", "model", "objective", "step", *(SUMMARY[key] for key in keys)]
    rows = []
    for number, run in enumerate(runs):
        name = f'<i class="swatch" style="background:var(--c{number % 8})"></i>{escape(run.name)}'
        kinds = (named(run.config, section) for section in ("model", "objective"))
        cells = [name, *map(escape, kinds), f"{run.step:,}"]
        rows.append([*cells, *(number_of(run.last(key)) for key in keys)])
    yield from table(heads, rows, texts=3)
    yield '<p class="note">The last value of each key in metrics.jsonl.</p>'


def named(config: Mapping[str, Any], section: str) -> str:
    """The name in a section of a config."""
    return str(config.get(section, {}).get("name", ""))


def charts() -> Iterator[str]:
    yield "<h2>Curves</h2>"
    yield CONTROLS
    yield '<div id="charts"></div>'


def tasks(runs: Sequence[Run]) -> Iterator[str]:
    """The last results of each task, of all runs; groups are folded."""
    names = list(dict.fromkeys(n for run in runs for some in run.tasks.values() for n in some))
    if not names:
        return
    yield "<h2>Tasks</h2>"
    for task in names:
        yield f"<h3>{escape(task)}</h3>"
        found = ((run, run.newest(task)) for run in runs)
        yield from task_table([(run, *last) for run, last in found if last is not None])


def task_table(found: Sequence[tuple[Run, int, Mapping[str, Any]]]) -> Iterator[str]:
    """The metrics of one task, and its groups."""
    beside = list(dict.fromkeys(name for _, _, result in found for name in result["yardsticks"]))
    heads = ["run", "metric", "value", "95 % interval", "chance", *beside, "items", "step"]
    rows = []
    for run, step, result in found:
        for metric, value in result["metrics"].items():
            others = (result["yardsticks"].get(name, {}).get(metric) for name in beside)
            cells = [escape(run.name), escape(metric), number_of(value.get("value"))]
            cells += [interval(value), number_of(value.get("chance")), *map(number_of, others)]
            rows.append([*cells, f"{result['items']:,}", f"{step:,}"])
    yield from table(heads, rows, texts=2)
    groups = list(dict.fromkeys(group for _, _, result in found for group in result["groups"]))
    if groups:
        yield f"<details><summary>{len(groups)} groups</summary>"
        rows = [[escape(group), *(group_cell(result, group) for _, _, result in found)]
                for group in groups]  # fmt: skip
        yield from table(["group", *(escape(run.name) for run, _, _ in found)], rows, texts=1)
        yield "</details>"


def group_cell(result: Mapping[str, Any], group: str) -> str:
    """The first metric of a group: "0.512 (0.41 to 0.61)"."""
    values = result["groups"].get(group, {})
    metric = next(iter(result["metrics"]))
    value = values.get(metric) or {}
    return f"{number_of(value.get('value'))} ({interval(value)})" if value else ""


def interval(value: Mapping[str, Any]) -> str:
    low, high = value.get("low"), value.get("high")
    return "" if low is None or high is None else f"{number_of(low)} to {number_of(high)}"


def samples(runs: Sequence[Run]) -> Iterator[str]:
    """The last samples of each run."""
    if not any(run.samples for run in runs):
        return
    yield "<h2>Samples</h2>"
    for run in (run for run in runs if run.samples):
        yield f"<h3>{escape(run.name)}</h3>"
        for number, (step, text) in enumerate(run.samples[::-1][:SAMPLES]):
            yield f"<details{'' if number else ' open'}><summary>step {step:,}</summary>"
            yield f"<pre>{escape(text)}</pre></details>"


def texts(data: Mapping[str, str]) -> Iterator[str]:
    """What each run is trained on."""
    if data:
        yield "<h2>Data</h2>"
    for name, text in data.items():
        yield f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"


def configs(runs: Sequence[Run]) -> Iterator[str]:
    """The keys whose values differ between runs, and the configs."""
    yield "<h2>Configuration</h2>"
    if len(runs) > 1:
        first = dict(runs[0].config)
        keys = sorted({key for run in runs[1:] for key in diff(first, dict(run.config))})
        rows = [[escape(key), *(escape(value_of(run.config, key)) for run in runs)] for key in keys]
        yield (
            "<p>Keys whose values differ; a run without a value does not have the key:</p>"
            if rows
            else "<p>All values are equal.</p>"
        )
        if rows:
            yield from table(["key", *(escape(run.name) for run in runs)], rows, texts=1, wrap=True)
    for run in runs:
        text = json.dumps(run.config, indent=1, ensure_ascii=False)
        yield f"<details><summary>{escape(run.name)}: config.json</summary>"
        yield f"<pre>{escape(text)}</pre></details>"


def value_of(config: Mapping[str, Any], key: str) -> str:
    """The value of a dotted key as JSON; "" without the key."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ""
        value = value[part]
    return json.dumps(value, ensure_ascii=False)


def origins(runs: Sequence[Run]) -> Iterator[str]:
    """The commands that made the runs, and their environments."""
    if not any(run.starts for run in runs):
        return
    yield "<h2>Commands and environment</h2>"
    for run in (run for run in runs if run.starts):
        yield f"<h3>{escape(run.name)}</h3>"
        for start in run.starts:
            yield f"<pre>{escape(start.get('command', ''))}</pre>"
            packages = start.get("packages", {})
            versions = ", ".join(f"{name} {version}" for name, version in packages.items())
            parts = [f"after step {start.get('step', 0):,}", start.get("time", ""),
                     start.get("devices", ""), f"{start.get('processes', 1)} process(es)",
                     f"Python {start.get('python', '')}", versions,
                     start.get("platform", "")]  # fmt: skip
            yield f'<p class="note">{escape("; ".join(parts))}</p>'


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int, wrap: bool = False
) -> Iterator[str]:
    """A table of HTML cells; the first `texts` columns are text, with `wrap` the others too, but
    long."""
    other = ' class="wrap"' if wrap else ""
    kinds = [' class="text"' if column < texts else other for column in range(len(heads))]
    yield '<div class="scroll"><table><thead><tr>'
    yield "".join(f"<th{kind}>{head}</th>" for kind, head in zip(kinds, heads, strict=True))
    yield "</tr></thead><tbody>"
    for row in rows:
        cells = "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"


def number_of(value: float | None) -> str:
    """A number of a table: four digits, or all digits before the point.

    >>> number_of(0.512345), number_of(1234567.0), number_of(None)
    ('0.5123', '1,234,567', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
