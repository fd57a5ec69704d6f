"""Compile the training step for devices that are not here, and say what it would take of them.

The step is the one that `loop` runs, lowered for shapes instead of arrays: nothing is allocated.
What it moves is read off the compiled program (planning/hlo.py).
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
from pretrain_jax.reporting.tables import axes, gib, row
from pretrain_jax.xla import flags

ASSUMED = (
    "the slowest of three, perfectly overlapped: products at the chip's peak; every operand and "
    "result through HBM once; collectives over one axis of the network, both ways"
)
UNFUSED = (
    "less is fused than in a run: where memory is the slowest, --full says what it is in truth"
)


def devices(where: str, slices: int) -> tuple[list[Any], str]:
    """Those of a topology ("v5e:4x4"), or, where `where` is empty, those that jax finds here; and
    the kind of GPU that they only stand for ("h100:2x8")."""
    if slices != 1 and not where:
        raise ConfigError(f"--slices={slices} is of a --topology, such as v5e:4x4; none is given")
    return topology.compile_only_devices(where, slices) if where else (jax.devices(), "")


def show(found: dict[str, Any], where: str, as_json: bool) -> None:
    """Prints a report."""
    print(json.dumps(found, indent=2) if as_json else "\n".join(table(found, where)))


def report_of(
    config: Any, devices: Sequence[Any], simulated: str = "", full: bool = False
) -> dict[str, Any]:
    """The report of a config on these devices, or on the GPUs that they stand for; where it does
    not fit, with `proposed`: the nearest mesh that would by an estimate, by config key."""
    design = build_design(config, tuple(devices), simulated)
    mesh_proposal.check(design)
    found = report(design, full)
    if found["fits"] is False:
        peak, usable = found["peak_bytes_per_device"], found["usable_bytes_per_device"]
        found["proposed"] = mesh_proposal.fitting(design, peak, usable)
    return found


def report(design: Design, full: bool = False) -> dict[str, Any]:
    """What one update takes in the phase with the largest microbatch; bytes and FLOPs are those of
    one device.

    full: whether a program for a TPU is compiled with the effort that a run spends on it; otherwise
    with the least, which takes a third of the time and gave peaks of 5 % less to 8 % more.
    """
    design.check()
    count, chip = len(design.target.devices), chips.lookup(design.target.kind)
    memory = chip.memory if chip else None
    share = flags.MEMORY_SHARE if design.target.platform == "gpu" else 1.0
    usable = None if memory is None else int(memory * share)
    state = design.update.abstract_state
    phase = design.task.largest_phase
    tokens = phase.batch_size * design.task.tokens_per_row(phase.seq_len)
    found = {
        "parameters": sum(sizes.parameters(design).values()),
        "devices": count,
        "device_kind": design.target.kind,
        "mesh": dict(design.placement.mesh.shape),
        "tokens_per_step": tokens,
        "hbm_bytes_per_device": memory,
        "usable_bytes_per_device": usable,
        "parameter_bytes_per_device": sizes.bytes_held(state.params),
        "optimizer_bytes_per_device": sizes.bytes_held(state.opt_state),
    }
    begin = time.monotonic()
    traced = design.update.trace(phase)
    platform = design.target.compiled_platform
    try:
        compiled = compile_for(platform, traced, full)
    except jax.errors.JaxRuntimeError as error:
        used = used_bytes(str(error), sizes.bytes_held(state))
        if used is None:
            raise
        keys = ("collective_bytes_per_device", "estimated_mfu")
        found |= {"peak_bytes_per_device": used, "fits": False, **dict.fromkeys(keys)}
        return found | {"compile_seconds": time.monotonic() - begin}
    peak = peak_bytes(compiled)
    found |= {
        "compile_seconds": time.monotonic() - begin,
        "temporary_bytes_per_device": compiled.memory_analysis().temp_size_in_bytes,
        "peak_bytes_per_device": peak,
        "fits": None if usable is None else peak <= usable,
    }
    done = work(hlo.parse(compiled.as_text(), count), flops.executed(traced) / count)
    model = flops.per_token(design, phase.seq_len) * tokens / count
    rates = (
        None if design.target.simulated else chip
    )  # a program for a CPU says nothing of a GPU's time
    return (
        found
        | done
        | roofline(rates, done, model)
        | {"assumed": assumed(platform == "tpu" and not full)}
    )


def compile_for(platform: str, traced: Any, full: bool = False) -> Any:
    """A traced step, compiled for devices of a platform that are not here."""
    # Without a GPU jax does not know which family "gpu" is.
    lowered = traced.lower(lowering_platforms=("cuda" if platform == "gpu" else platform,))
    return lowered.compile(compiler_options=flags.plan_options(platform, full))


def work(program: hlo.HloModule, executed: float) -> dict[str, Any]:
    """What one device does in a step: FLOPs, bytes through its memory, bytes that it sends."""
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
    """Arguments, results that are not in their place, and what the step needs beside."""
    stats = compiled.memory_analysis()
    fresh = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return stats.argument_size_in_bytes + fresh + stats.temp_size_in_bytes


def used_bytes(message: str, state: int) -> int | None:
    """Bytes that a program for a TPU would need, from the compiler's refusal; None for another.

    state: bytes of parameters and optimizer, where the refusal tells of temporaries alone.

    >>> used_bytes("Used 20.00G of 15.75G hbm. Exceeded hbm capacity by 4.25G", 0)
    21474836480
    >>> used_bytes("required for HLO temporaries (1.00G) exceeds available HBM (15.75G)", 1000)
    1073742824
    """
    for before, beside in ((r"Used ", 0), (r"HLO temporaries \(", state)):
        said = re.search(before + r"([\d.]+)([KMGT])", message)
        if said and "hbm" in message.lower():
            return beside + int(float(said[1]) * 2 ** (10 * ("KMGT".index(said[2]) + 1)))
    return None


def roofline(chip: chips.Chip | None, done: dict[str, Any], model: float) -> dict[str, Any]:
    """Seconds that a step's `work` takes at least, by what bounds it, and the MFU that leaves.

    model: FLOPs of the model that the step trains, recomputation and padding not among them.
    """
    if chip is None or chip.memory_rate is None:
        return {"seconds": None, "estimated_mfu": None}
    seconds = {
        "products": done["flops_per_device"] / chip.flops,
        "memory": done["memory_bytes_per_device"] / chip.memory_rate,
    }
    if chip.link_rate is not None:
        seconds["network"] = done["collective_bytes_per_device"] / (2 * chip.link_rate)
    mfu = model / chip.flops / max(seconds.values())
    return {"seconds": seconds, "estimated_mfu": mfu}


def assumed(quick: bool) -> str:
    """What the estimate takes for granted."""
    return f"{ASSUMED}; {UNFUSED}" if quick else ASSUMED


def table(found: dict[str, Any], where: str) -> Iterator[str]:
    """The lines of the table."""
    split = axes(found["mesh"]) or "1"
    yield f"{found['devices']} x {found['device_kind']} {where} (mesh {split})"
    yield row("parameters", f"{found['parameters']:,}")
    yield row("tokens a step", f"{found['tokens_per_step']:,}")
    for name in ("parameter", "optimizer", "temporary", "peak"):
        size = found.get(f"{name}_bytes_per_device")
        if size is not None:
            yield row(f"{name} bytes a device", gib(size))
    yield from verdict(found)
    if found.get("proposed"):
        yield f"should fit: {mesh_proposal.written(found['proposed'])}"
    if found["collective_bytes_per_device"] is not None:
        yield from movement(found)
    for one in found.get("tried", ()):
        what = ", ".join(f"{key}={value}" for key, value in one["changes"].items())
        yield f"tried {what or 'the config as it is'}: {gib(one['peak_bytes'])}"
    yield row("compiled in", f"{found['compile_seconds']:.1f} s")


def verdict(found: dict[str, Any]) -> Iterator[str]:
    """Whether it fits."""
    memory, usable = found["hbm_bytes_per_device"], found["usable_bytes_per_device"]
    if memory is None:
        return
    yield row("HBM a device", gib(memory))
    if usable < memory:
        yield row("  of which a run takes", gib(usable))
    left = usable - found["peak_bytes_per_device"]
    yield row(
        "fits" if found["fits"] else "DOES NOT FIT",
        f"{gib(abs(left))} {'free' if left >= 0 else 'too much'}",
    )


def movement(found: dict[str, Any]) -> Iterator[str]:
    """FLOPs, bytes and time."""
    yield row("FLOPs a step and device", f"{found['flops_per_device']:.4g}")
    yield row("bytes through its memory", gib(found["memory_bytes_per_device"]))
    yield row("bytes it sends", gib(found["collective_bytes_per_device"]))
    yield from (row(f"  {kind}", gib(size)) for kind, size in found["collectives"].items())
    if found["seconds"] is None:
        return
    for what, seconds in found["seconds"].items():
        yield row(f"seconds for {what}, at least", f"{seconds:.4g}")
    yield row("MFU, at most", f"{found['estimated_mfu']:.1%}")
    yield from textwrap.wrap(f"assumed: {found['assumed']}", 66)
