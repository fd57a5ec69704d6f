"""What would make a run fit: changes tried one after the other, the cheapest first.

Saving less costs recomputation (at most a third more products), smaller microbatches cost more
gathering of split parameters, splitting further costs traffic in every layer. Each try keeps those
before it, and is compiled: nothing is estimated.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pretrain_jax.composition.build import build_design
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates.mesh_proposal import with_changes
from pretrain_jax.layers.stacks import REMAT
from pretrain_jax.planning import aot

MOST_MICROBATCHES, WIDEST_TENSOR = 64, 8


def search(
    config: Any, devices: Sequence[Any], simulated: str = "", full: bool = False
) -> dict[str, Any]:
    """The report (`aot.report`) of the first change that fits, or of the last that was tried.

    With `changes`, by config key, and `tried`: all of them with the bytes that each needs.
    Raises ConfigError where the memory of the devices is not known.
    """
    tried: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for changes in alternatives(config):
        try:
            found = aot.report(
                build_design(with_changes(config, changes), tuple(devices), simulated), full
            )
        except ConfigError:
            if not changes:
                raise
            continue  # heads that do not divide, a batch that is too small
        if found["fits"] is None:
            raise ConfigError(
                "--search needs devices whose memory is known; name some with --topology=v5e:4x4"
            )
        tried.append({"changes": changes, "peak_bytes": found["peak_bytes_per_device"]})
        if found["fits"]:
            break
    return found | {"changes": tried[-1]["changes"], "tried": tried}


def alternatives(config: Any) -> Iterator[dict[str, Any]]:
    """Changes by config key, from none at all to everything together."""
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
    while count < MOST_MICROBATCHES:
        count *= 2
        changes |= microbatches(config, count)
        yield dict(changes)
    ways = config.mesh.tensor
    while 0 < ways < WIDEST_TENSOR:
        ways *= 2
        # A group of chips shares a row: fewer groups have more rows each, so start over with them.
        for count in (config.train.accumulate * 2**n for n in range(7)):
            yield {**changes, "mesh.tensor": ways, **microbatches(config, count)}


def microbatches(config: Any, count: int) -> dict[str, Any]:
    """`train.accumulate=count`, and in the same measure more where a phase has its own."""
    more = count // config.train.accumulate
    phases = tuple(
        (
            first,
            {**dict(to), **({"accumulate": to["accumulate"] * more} if "accumulate" in to else {})},
        )
        for first, to in config.train.phases
    )
    own = any("accumulate" in to for _, to in phases)
    return {"train.accumulate": count} | ({"train.phases": phases} if own else {})
