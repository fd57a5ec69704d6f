"""A search for config changes that make a run fit into memory, the cheapest first.

Saving fewer activations costs recomputation (at most a third more products), smaller microbatches
gather sharded parameters more often, more sharding adds traffic to every layer. Each try keeps the
changes before it and is compiled, not estimated.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pretrain_jax.composition.build import build_design
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates.mesh_proposal import update_config
from pretrain_jax.layers.stacks import REMAT
from pretrain_jax.planning import aot

MAX_ACCUMULATE, MAX_TENSOR = 64, 8


def find_fit(
    config: Any, devices: Sequence[Any], simulated: str = "", full: bool = False
) -> dict[str, Any]:
    """The report (`aot.report_design`) of the first changes that fit, else of the last ones tried.

    Additional keys: `changes`, by config key, and `tried`, all tries with the bytes that each
    needs. Raises ConfigError if the memory of the devices is unknown.
    """
    tried: list[dict[str, Any]] = []
    report: dict[str, Any] = {}
    for changes in candidate_changes(config):
        changed = update_config(config, changes)
        try:
            report = aot.report_design(build_design(changed, tuple(devices), simulated), full)
        except ConfigError:
            if not changes:
                raise
            continue  # heads that do not divide, a batch that is too small
        if report["fits"] is None:
            raise ConfigError(
                "--search needs devices whose memory is known; received "
                f"{report['device_kind']}. Name some with --topology=v5e:4x4"
            )
        tried.append({"changes": changes, "peak_bytes": report["peak_bytes_per_device"]})
        if report["fits"]:
            break
    return report | {"changes": tried[-1]["changes"], "tried": tried}


def candidate_changes(config: Any) -> Iterator[dict[str, Any]]:
    """Changes by config key, from none to all of them together."""
    changes: dict[str, Any] = {}
    yield {}
    names = list(REMAT)
    for name in names[names.index(config.model.remat) + 1 :]:
        changes["model.remat"] = name
        yield dict(changes)
    if (config.mesh.data, config.mesh.fsdp) != (1, -1):
        changes |= {"mesh.data": 1, "mesh.fsdp": -1}
        yield dict(changes)
    count = config.train.accumulate
    while count < MAX_ACCUMULATE:
        count *= 2
        changes |= accumulate_changes(config, count)
        yield dict(changes)
    ways = config.mesh.tensor
    while 0 < ways < MAX_TENSOR:
        ways *= 2
        # `ways` chips share a row, so each group of chips has more rows: try all counts again.
        for count in (config.train.accumulate * 2**n for n in range(7)):
            yield {**changes, "mesh.tensor": ways, **accumulate_changes(config, count)}


def accumulate_changes(config: Any, count: int) -> dict[str, Any]:
    """`train.accumulate=count`; a phase with its own `accumulate` grows by the same factor."""
    factor = count // config.train.accumulate
    phases = tuple(
        (first, {k: v * factor if k == "accumulate" else v for k, v in dict(changes).items()})
        for first, changes in config.train.phases
    )
    in_phases = any("accumulate" in changes for _, changes in phases)
    return {"train.accumulate": count} | ({"train.phases": phases} if in_phases else {})
