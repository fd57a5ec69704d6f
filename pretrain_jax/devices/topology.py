"""Devices that are not here.

TPU pods ("v5e:4x4"), for which libtpu compiles on a machine without TPUs, and GPUs ("h100:2x8", two
machines of eight), for which jax's CUDA plugin does. Where that is not installed, as many simulated
CPU devices stand for them: they tell what divides and, more or less, what fits, not how fast it is.
"""

import importlib.util
import itertools
import logging
import math
import os
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from pretrain_jax import registry
from pretrain_jax.devices import gpus
from pretrain_jax.devices.gpus import GPUS
from pretrain_jax.errors import ConfigError

# What libtpu asks a TPU machine for, and complains of at length where there is none.
QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
    # It is loaded to compile: two of us do not fight over a chip.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
KINDS = {"v2": 2, "v3": 2, "v4": 3, "v5e": 2, "v5p": 3, "v6e": 2, "tpu7x": 3}
"""Generations, and the dimensions of their network."""
# v4's two cores work as one device, as they do on real machines; libtpu's default splits them.
CHIP_CONFIGS = {"v4": "megacore"}
MOST_GPUS = 4096
SIDES = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32)
log = logging.getLogger(__name__)


def configure_environment(topology: str) -> None:
    """Keeps the default backend on the CPU, with a device for each GPU where nothing else can stand
    for it, and the compilers quiet.

    Call it before jax is imported.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"
    # Programs for devices that are not here can be kept, but not read back.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    kind, sides = parse(topology)
    if kind in GPUS and gpus.installed_plugin():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # nor is a GPU that is here looked at
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    elif kind in GPUS:
        count = f"--xla_force_host_platform_device_count={math.prod(sides)}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {count}"
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def compile_only_devices(topology: str, slices: int = 1) -> tuple[list[Any], str]:
    """The devices of `slices` pods, or parts of pods, called "v5e:4x4" or "v5p:8x16x16", or of
    machines with GPUs; and, where CPU devices stand for these, the kind of GPU, otherwise "".

    Raises ConfigError when there is no such topology, naming the nearest; when libtpu is missing.
    """
    kind, sides = parse(topology)
    if slices < 1:
        raise ConfigError(f"--slices must be at least 1; received {slices}")
    if kind in GPUS:
        if slices > 1:
            raise ConfigError(f"--slices is for TPUs; received {topology} with --slices={slices}")
        return gpu_devices(kind, sides[0], sides[1])
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            "compiling for a TPU needs libtpu, which is not installed; "
            "install the extra: pip install -e '.[tpu]'"
        )
    if other := libtpu_mismatch():
        log.warning("%s; programs may not compile, or not be read back: %s", *other)
    try:
        return describe_topology(kind, sides, slices), ""
    except RuntimeError as error:
        near = ", ".join(nearest_topologies(kind, sides))
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"--topology must be one that exists; received {topology!r}; libtpu says: {reason}. "
            f"The nearest are {near}"
        ) from None


def gpu_devices(kind: str, machines: int, each: int) -> tuple[list[Any], str]:
    """Those that the CUDA plugin describes and compiles for; or what stands for them."""
    if gpus.installed_plugin():
        try:
            return gpus.compile_only_devices(kind, machines, each), ""
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"jax's CUDA plugin must compile for {GPUS[kind].name}; it says: {reason}. "
                "Without the plugin CPU devices stand for GPUs"
            ) from None
    import jax

    log.info(
        "CPU devices stand for the GPUs; to compile for %s itself: pip install -e '.[cuda12]'",
        GPUS[kind].name,
    )
    return jax.devices()[: machines * each], GPUS[kind].name


def libtpu_mismatch() -> tuple[str, str] | None:
    """What to say, and what to do, where libtpu is not of the release that jax asks for."""
    asked = [Requirement(line) for line in metadata.requires("jax") or ()]
    wanted = next((one for one in asked if one.name == "libtpu"), None)
    try:
        found = metadata.version("libtpu")
    except metadata.PackageNotFoundError:  # it came without its papers
        return None
    if wanted is None or wanted.specifier.contains(found, prereleases=True):
        return None
    here = f"jax {metadata.version('jax')} goes with libtpu{wanted.specifier}, and {found} is here"
    return here, f"pip install 'libtpu{wanted.specifier}'"


def parse(topology: str) -> tuple[str, tuple[int, ...]]:
    """("v5e", (4, 4)) of "v5e:4x4". Raises ConfigError."""
    kind, _, layout = topology.partition(":")
    kind = kind.lower()
    known = {**KINDS, **dict.fromkeys(GPUS, 2)}
    if kind not in known:
        raise ConfigError(
            f"--topology begins with a TPU generation ({', '.join(KINDS)}), as v5e:4x4 does, or "
            f"with a GPU ({', '.join(GPUS)}), as h100:2x8 does; received {topology!r}"
            f"{registry.nearest(kind, known)}"
        )
    sides = layout.split("x")
    if len(sides) == 1 and kind in GPUS:
        sides = ["1", *sides]  # one machine
    if len(sides) != known[kind] or not all(side.isdigit() and int(side) for side in sides):
        example = "x".join(["4"] * known[kind])
        raise ConfigError(
            f"a {kind} topology has {known[kind]} sides, as {kind}:{example} has; "
            f"received {topology!r}"
        )
    found = tuple(int(side) for side in sides)
    if kind in GPUS and math.prod(found) > MOST_GPUS:
        raise ConfigError(
            f"at most {MOST_GPUS} GPUs can be stood for; received {topology!r}, {math.prod(found)}"
        )
    return kind, found


def describe_topology(kind: str, sides: tuple[int, ...], slices: int) -> list[Any]:
    """libtpu's devices; RuntimeError where it knows no such topology."""
    from jax.experimental import topologies

    more: dict[str, Any] = {"num_slices": slices} if slices > 1 else {}
    if kind in CHIP_CONFIGS:
        more["chip_config_name"] = CHIP_CONFIGS[kind]
    name = f"{kind}:{'x'.join(map(str, sides))}"
    return list(topologies.get_topology_desc(platform="tpu", topology_name=name, **more).devices)


def nearest_topologies(kind: str, sides: tuple[int, ...], count: int = 3) -> Iterator[str]:
    """Topologies that exist, nearest in sides and in chips first."""

    def away(other: tuple[int, ...]) -> float:
        chips = abs(math.log(math.prod(other) / math.prod(sides)))
        return chips + sum(abs(math.log(a / b)) for a, b in zip(other, sides, strict=True))

    found = 0
    for other in sorted(itertools.product(SIDES, repeat=len(sides)), key=away):
        try:
            describe_topology(kind, other, 1)
        except RuntimeError:
            continue
        yield f"{kind}:{'x'.join(map(str, other))}"
        found += 1
        if found == count:
            return
