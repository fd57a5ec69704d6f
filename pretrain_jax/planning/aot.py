"""Ahead-of-time compilation: the memory, traffic and time of a training step on given devices.

The devices need not exist here. The step is the one that training runs, lowered for shapes instead
of arrays: nothing is allocated. Its traffic is parsed from the compiled program (planning/hlo.py).
"""

import json
import re
import textwrap
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.devices import chips, topology
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates import flops, mesh_proposal, sizes
from pretrain_jax.planning import hlo
from pretrain_jax.reporting.tables import format_gib, format_mesh, format_row
from pretrain_jax.xla import flags

ROOFLINE_ASSUMPTIONS = (
    "the slowest of three, perfectly overlapped: matrix products at the chip's peak; every operand "
    "and result through HBM once; collectives over one axis of the network, in both directions"
)
QUICK_COMPILE_NOTE = (
    "this quick compilation fuses less than a run does: where memory is the slowest of the three, "
    "use --full for a better estimate"
)


def find_devices(topology_name: str, slices: int) -> tuple[list[Any], str]:
    """(devices, simulated GPU) of a topology such as "v5e:4x4" or "h100:2x8"; of this machine where
    the name is empty.

    GPUs are simulated by CPU devices; their kind ("NVIDIA H100") is the second value, else "".
    """
    if slices != 1 and not topology_name:
        raise ConfigError(
            f"--slices={slices} needs a --topology; received none. Add one, such as "
            "--topology=v5e:4x4"
        )
    if topology_name:
        return topology.compile_only_devices(topology_name, slices)
    return jax.devices(), ""


def print_report(report: dict[str, Any], topology_name: str, as_json: bool) -> None:
    """Prints a report as a table or as one JSON object."""
    lines = [json.dumps(report, indent=2)] if as_json else format_report(report, topology_name)
    print("\n".join(lines))


def report_config(
    config: Any, devices: Sequence[Any], simulated: str = "", full: bool = False
) -> dict[str, Any]:
    """`report_design` of a config on these devices (or the GPUs that they simulate).

    If it does not fit, the key `proposed` has the nearest mesh that should fit, by config key; it
    is estimated, not compiled.
    """
    design = build_design(config, tuple(devices), simulated)
    mesh_proposal.check_design(design)
    report = report_design(design, full)
    if report["fits"] is False:
        peak, usable = report["peak_bytes_per_device"], report["usable_bytes_per_device"]
        report["proposed"] = mesh_proposal.propose_fit(design, peak, usable)
    return report


def report_design(design: Design, full: bool = False) -> dict[str, Any]:
    """The costs of one update in the phase with the largest microbatch.

    Bytes and FLOPs are those of one device. full: compile a TPU program with the same effort as a
    run; the default is the least effort, which takes a third of the time and gives peaks between
    5 % lower and 8 % higher.
    """
    design.check()
    report = device_sizes(design)
    usable, count = report["usable_bytes_per_device"], report["devices"]
    phase = design.task.largest_phase
    start = time.monotonic()
    traced = design.update.step.trace(*design.update.abstract_arguments(phase))
    platform = design.target.compiled_platform
    try:
        compiled = compile_for(platform, traced, full)
    except jax.errors.JaxRuntimeError as error:
        state = sizes.bytes_per_device(design.update.abstract_state)
        needed = parse_needed_bytes(str(error), state)
        if needed is None:
            raise
        unknown = ("collective_bytes_per_device", "estimated_mfu")
        report |= {"peak_bytes_per_device": needed, "fits": False, **dict.fromkeys(unknown)}
        return report | {"compile_seconds": time.monotonic() - start}
    peak = peak_bytes(compiled)
    report |= {
        "compile_seconds": time.monotonic() - start,
        "temporary_bytes_per_device": compiled.memory_analysis().temp_size_in_bytes,
        "peak_bytes_per_device": peak,
        "fits": None if usable is None else peak <= usable,
    }
    costs = step_costs(hlo.parse(compiled.as_text(), count), flops.count_executed(traced) / count)
    model_flops = flops.per_token(design, phase.seq_len) * report["tokens_per_step"] / count
    # The time of a GPU cannot be estimated from a program compiled for a CPU.
    chip = None if design.target.simulated else chips.lookup(design.target.kind)
    quick = platform == "tpu" and not full
    assumptions = f"{ROOFLINE_ASSUMPTIONS}; {QUICK_COMPILE_NOTE}" if quick else ROOFLINE_ASSUMPTIONS
    return report | costs | roofline(chip, costs, model_flops) | {"assumed": assumptions}


def device_sizes(design: Design) -> dict[str, Any]:
    """The part of a report that shapes alone give: devices, tokens, bytes of the state."""
    memory = chips.memory(design.target.kind)
    share = flags.MEMORY_SHARE if design.target.platform == "gpu" else 1.0
    state = design.update.abstract_state
    phase = design.task.largest_phase
    return {
        "parameters": sizes.total_parameters(design),
        "devices": len(design.target.devices),
        "device_kind": design.target.kind,
        "mesh": dict(design.placement.mesh.shape),
        "tokens_per_step": phase.batch_size * design.task.tokens_per_row(phase.seq_len),
        "hbm_bytes_per_device": memory,
        "usable_bytes_per_device": None if memory is None else int(memory * share),
        "parameter_bytes_per_device": sizes.bytes_per_device(
            (state.params, design.update.abstract_frozen)
        ),
        "optimizer_bytes_per_device": sizes.bytes_per_device(state.opt_state),
    }


def compile_for(platform: str, traced: Any, full: bool = False) -> Any:
    """Compiles a traced step for devices of a platform; they need not exist here."""
    # Without a GPU, jax does not know which kind of GPU "gpu" means.
    lowered = traced.lower(lowering_platforms=("cuda" if platform == "gpu" else platform,))
    return lowered.compile(compiler_options=flags.plan_options(platform, full))


def step_costs(program: hlo.HloModule, executed: float) -> dict[str, Any]:
    """Costs of a step on one device: FLOPs, bytes through its memory, bytes that it sends."""
    sent: dict[str, float] = {}
    for collective in program.collectives():
        sent[collective.kind] = sent.get(collective.kind, 0.0) + collective.bytes_sent
    return {
        "flops_per_device": executed,
        "memory_bytes_per_device": program.memory_bytes(),
        "collective_bytes_per_device": sum(sent.values()),
        "collectives": sent,
        "uncounted_loops": program.unknown_loops,
    }


def peak_bytes(compiled: Any) -> int:
    """Bytes of arguments, temporaries, and results that do not reuse the memory of arguments."""
    stats = compiled.memory_analysis()
    fresh = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return stats.argument_size_in_bytes + fresh + stats.temp_size_in_bytes


def parse_needed_bytes(message: str, state: int) -> int | None:
    """Bytes that a TPU program needs, from the compiler's out-of-memory error; else None.

    state: bytes of parameters and optimizer, added where the message counts temporaries alone.

    >>> parse_needed_bytes("Used 20.00G of 15.75G hbm. Exceeded hbm capacity by 4.25G", 0)
    21474836480
    >>> parse_needed_bytes("HLO temporaries (1.00G) exceeds available HBM (15.75G)", 1000)
    1073742824
    """
    for prefix, uncounted in ((r"Used ", 0), (r"HLO temporaries \(", state)):
        match = re.search(prefix + r"([\d.]+)([KMGT])", message)
        if match and "hbm" in message.lower():
            return uncounted + int(float(match[1]) * 2 ** (10 * ("KMGT".index(match[2]) + 1)))
    return None


def roofline(chip: chips.Chip | None, costs: dict[str, Any], model_flops: float) -> dict[str, Any]:
    """Lower bounds of a step's seconds, by resource, and the upper bound of the MFU that follows.

    costs: from `step_costs`. model_flops: FLOPs of the model, without recomputation and padding.
    """
    if chip is None or chip.memory_rate is None:
        return {"seconds": None, "estimated_mfu": None}
    seconds = {
        "products": costs["flops_per_device"] / chip.flops,
        "memory": costs["memory_bytes_per_device"] / chip.memory_rate,
    }
    if chip.link_rate is not None:
        seconds["network"] = costs["collective_bytes_per_device"] / (2 * chip.link_rate)
    mfu = model_flops / chip.flops / max(seconds.values())
    return {"seconds": seconds, "estimated_mfu": mfu}


def format_report(report: dict[str, Any], topology_name: str) -> Iterator[str]:
    """The lines of the table."""
    mesh = format_mesh(report["mesh"]) or "1"
    yield f"{report['devices']} x {report['device_kind']} {topology_name} (mesh {mesh})"
    yield format_row("parameters", f"{report['parameters']:,}")
    yield format_row("tokens per step", f"{report['tokens_per_step']:,}")
    for name in ("parameter", "optimizer", "temporary", "peak"):
        size = report.get(f"{name}_bytes_per_device")
        if size is not None:
            yield format_row(f"{name} bytes per device", format_gib(size))
    yield from format_fit(report)
    if report.get("proposed"):
        yield f"should fit: {mesh_proposal.format_options(report['proposed'])}"
    if report["collective_bytes_per_device"] is not None:
        yield from format_costs(report)
    for attempt in report.get("tried", ()):
        changes = ", ".join(f"{key}={value}" for key, value in attempt["changes"].items())
        yield f"tried {changes or 'the unchanged config'}: {format_gib(attempt['peak_bytes'])}"
    yield format_row("compile time", f"{report['compile_seconds']:.1f} s")


def format_fit(report: dict[str, Any]) -> Iterator[str]:
    """Lines that say whether the step fits into the memory of a device, where that is known."""
    memory, usable = report["hbm_bytes_per_device"], report["usable_bytes_per_device"]
    if memory is None:
        return
    yield format_row("HBM per device", format_gib(memory))
    if usable < memory:
        yield format_row("  usable by a run", format_gib(usable))
    free = usable - report["peak_bytes_per_device"]
    yield format_row(
        "fits" if report["fits"] else "DOES NOT FIT",
        f"{format_gib(abs(free))} {'free' if free >= 0 else 'too much'}",
    )


def format_costs(report: dict[str, Any]) -> Iterator[str]:
    """Lines of FLOPs, bytes and seconds."""
    yield format_row("FLOPs per step and device", f"{report['flops_per_device']:.4g}")
    yield format_row("bytes through its memory", format_gib(report["memory_bytes_per_device"]))
    yield format_row("bytes sent", format_gib(report["collective_bytes_per_device"]))
    for kind, size in report["collectives"].items():
        yield format_row(f"  {kind}", format_gib(size))
    if report["seconds"] is None:
        return
    for resource, seconds in report["seconds"].items():
        yield format_row(f"seconds for {resource}, at least", f"{seconds:.4g}")
    yield format_row("MFU, at most", f"{report['estimated_mfu']:.1%}")
    yield from textwrap.wrap(f"assumed: {report['assumed']}", 66)
