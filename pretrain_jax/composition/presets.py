"""Devices that a config knows, and the options that suit them.

A config file may say so in PODS, by topology: the values of keys for a run on these devices. They
come before the file's own values, and the command line before them.

    PODS = {"v5p:8x16x16": {"mesh.tensor": 8}}
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pretrain_jax.devices import chips, topology
from pretrain_jax.devices.gpus import GPUS

Pods = Mapping[str, Mapping[str, Any]]

DEVICES_A_CHIP = {"v2": 2, "v3": 2, "tpu7x": 2}
FREE = "mesh."
"""How keys begin that may change when a run goes on."""


def known(pods: Pods, devices: Sequence[Any], simulated: str = "") -> str:
    """The topology in `pods` of so many devices of this kind; "" where there is none.

    simulated: the kind of GPU that the devices stand for, where they do. Several slices are none:
    their mesh needs one more axis.
    """
    slices = {getattr(device, "slice_index", None) for device in devices}
    if devices[0].platform == "tpu" and len(slices) > 1:
        return ""
    here = chips.lookup(simulated or devices[0].device_kind), len(devices)
    return next((name for name in pods if here == described(name)), "")


def described(name: str) -> tuple[chips.Chip | None, int]:
    """What one device of a topology is, and how many there are: 64 v5p of "v5p:4x4x4"."""
    kind, sides = topology.parse(name)
    called = GPUS[kind].name if kind in GPUS else kind if kind.startswith("tpu") else f"tpu {kind}"
    return chips.lookup(called), math.prod(sides) * DEVICES_A_CHIP.get(kind, 1)


def preset(pods: Pods, name: str, stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options of the pod `name`, "" for devices that are not known.

    stored: the config of a run that has begun, which keeps its values but for the mesh, so that it
    can go on on other devices:

    >>> pods = {"v5p:4x4x4": {"mesh.data": 4, "train.accumulate": 4}}
    >>> preset(pods, "v5p:4x4x4")
    {'mesh.data': 4, 'train.accumulate': 4}
    >>> preset(pods, "", {"train": {"accumulate": 4}})
    {'train.accumulate': 4}
    """
    found = dict(pods.get(name, {}))
    for key in {key for options in pods.values() for key in options} if stored else ():
        section, _, last = key.partition(".")
        if not key.startswith(FREE) and last in (stored or {}).get(section, {}):
            found[key] = (stored or {})[section][last]
    return found
