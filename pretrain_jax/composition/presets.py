"""Options of a config file for particular devices.

A config file may define PODS: values of keys by topology, for a run on these devices. They override
the file's other values; the command line overrides them.

    PODS = {"v5p:8x16x16": {"mesh.tensor": 8}}
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pretrain_jax.devices import chips, topology
from pretrain_jax.devices.gpus import GPUS

Pods = Mapping[str, Mapping[str, Any]]

DEVICES_PER_CHIP = {"v2": 2, "v3": 2, "tpu7x": 2}
FREE = "mesh."
"""Prefix of the keys that a resumed run may change."""


def match_topology(pods: Pods, devices: Sequence[Any], simulated: str = "") -> str:
    """The topology in `pods` with this kind and number of devices; "" if no topology matches.

    simulated: the kind of GPU that the devices simulate, if any. Several TPU slices match no
    topology: their mesh needs one more axis.
    """
    slices = {getattr(device, "slice_index", None) for device in devices}
    if devices[0].platform == "tpu" and len(slices) > 1:
        return ""
    actual = chips.lookup(simulated or devices[0].device_kind), len(devices)
    return next((name for name in pods if actual == describe_topology(name)), "")


def describe_topology(name: str) -> tuple[chips.Chip | None, int]:
    """The chip of a topology and its number of devices: v5p and 64 for "v5p:4x4x4"."""
    kind, sides = topology.parse(name)
    device_kind = (
        GPUS[kind].name if kind in GPUS else kind if kind.startswith("tpu") else f"tpu {kind}"
    )
    return chips.lookup(device_kind), math.prod(sides) * DEVICES_PER_CHIP.get(kind, 1)


def select_options(
    pods: Pods, name: str, stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The options of the topology `name`; "" is for other devices.

    stored: the config of a run to resume. It keeps its stored values of all keys in `pods` except
    those of the mesh, so it can resume on other devices:

    >>> pods = {"v5p:4x4x4": {"mesh.data": 4, "train.accumulate": 4}}
    >>> select_options(pods, "v5p:4x4x4")
    {'mesh.data': 4, 'train.accumulate': 4}
    >>> select_options(pods, "", {"train": {"accumulate": 4}})
    {'train.accumulate': 4}
    """
    selected = dict(pods.get(name, {}))
    if not stored:
        return selected
    for key in {key for options in pods.values() for key in options}:
        section, _, last = key.partition(".")
        if not key.startswith(FREE) and last in stored.get(section, {}):
            selected[key] = stored[section][last]
    return selected
