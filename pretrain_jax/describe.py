"""Show a config's sizes, FLOPs, memory and origin of values; the model is not allocated.

    python -m pretrain_jax.describe --config=gpt2_xl [--json] [--config.SECTION.KEY=VALUE ...]

--config   A Python file, or the name of a config that comes with the package.
--json     Print one JSON object and nothing else.

The memory is the estimate for one device of this machine's mesh. To get the estimate for a mesh of
64 devices on any machine, set JAX_PLATFORMS=cpu and
XLA_FLAGS=--xla_force_host_platform_device_count=64, and pass --config.train.dtype=bfloat16, the
dtype on accelerators.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from pretrain_jax import command
from pretrain_jax.reporting.tables import format_gib, format_mesh, format_row


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code."""
    line = command.parse(argv, {}, switches=("json",))
    report = describe(line)
    print(json.dumps(report, indent=2) if line.flags["json"] else "\n".join(format_report(report)))
    return 0


def describe(line: command.CommandLine) -> dict[str, Any]:
    """The JSON object. `config` has, by dotted key, [value, origin]."""
    import jax

    from pretrain_jax.composition import build, config, fix_labels
    from pretrain_jax.estimates import flops, sizes

    devices = tuple(jax.devices())
    preset = config.device_options(line.config, line.overrides, devices)
    as_read = config.read(line.config, line.overrides, preset)
    settings = fix_labels.fix_labels(build.fix_schedule(as_read))
    values, before = settings.to_dict(), as_read.to_dict()
    origins = config.value_origins(line.config, line.overrides, before, preset)
    if values["optimizer"]["decay_steps"] != before["optimizer"]["decay_steps"]:
        origins["optimizer.decay_steps"] = "train.steps"
    design = build.build_design(settings, devices)
    design.check()
    last = design.spec.phases[-1]
    tokens = sum(p.rows * design.task.tokens_per_row(p.seq_len) for p in design.spec.phases)
    return {
        "parameters": sizes.total_parameters(design),
        "trained_parameters": sizes.trained_parameters(design),
        "parameters_by_part": sizes.parameters_by_part(design),
        "flops_per_token": flops.per_token(design, design.spec.data.seq_len),
        "tokens_per_step": last.batch_size * design.task.tokens_per_row(last.seq_len),
        "steps": design.spec.train.steps,
        "tokens": tokens,
        "flops": flops.per_run(design),
        "memory_per_device": sizes.memory_per_device(design),
        "devices": len(design.target.devices),
        "mesh": dict(design.placement.mesh.shape),
        "dtype": design.model.dtype.__name__,
        "config": {key: [value_of(values, key), origin] for key, origin in origins.items()},
    }


def value_of(values: dict[str, Any], key: str) -> Any:
    """The value of a dotted key: values["train"]["steps"] for "train.steps"."""
    section, dot, name = key.partition(".")
    return values[section][name] if dot else values[section]


def format_report(report: dict[str, Any]) -> Iterator[str]:
    """The lines that `describe` prints."""
    yield format_row("parameters", f"{report['parameters']:,}")
    if report["trained_parameters"] != report["parameters"]:
        yield format_row("of which train", f"{report['trained_parameters']:,}")
    yield from (
        format_row(f"  {name}", f"{n:,}") for name, n in report["parameters_by_part"].items()
    )
    yield ""
    yield format_row("training FLOPs per token", f"{report['flops_per_token']:.4g}")
    yield format_row("tokens per step", f"{report['tokens_per_step']:,}")
    yield format_row("steps", f"{report['steps']:,}")
    yield format_row("tokens", f"{report['tokens']:,}")
    yield format_row("training FLOPs", f"{report['flops']:.4g}")
    yield ""
    mesh = format_mesh(report["mesh"]) or "1"
    memory = report["memory_per_device"]
    devices = f"{report['devices']} devices, mesh {mesh}"
    yield f"memory per device ({devices}), products in {report['dtype']}"
    yield from (format_row(f"  {what}", format_gib(size)) for what, size in memory.items())
    yield ""
    yield f"{'key':<32}{'from':<14}value"
    for key, (value, origin) in report["config"].items():
        yield f"{key:<32}{origin:<14}{json.dumps(value)}"


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
