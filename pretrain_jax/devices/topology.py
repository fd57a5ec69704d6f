"""Compile-only devices for hardware that is not present.

libtpu compiles for TPU pods ("v5e:4x4") on machines without TPUs, and jax's CUDA plugin for GPUs
("h100:2x8", two machines of eight). Without the plugin, as many simulated CPU devices stand for the
GPUs: they show which sizes divide and roughly what fits into memory, but not the speed.
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

# Settings that libtpu would ask a TPU machine for. On other machines it prints long warnings.
QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
    # Processes that only compile do not compete for a chip.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
TPU_DIMENSIONS = {"v2": 2, "v3": 2, "v4": 3, "v5e": 2, "v5p": 3, "v6e": 2, "tpu7x": 3}
"""The number of dimensions of the network, by TPU generation."""
# On real machines v4's two cores work as one device; libtpu's default splits them.
CHIP_CONFIGS = {"v4": "megacore"}
MOST_GPUS = 4096
SIDES = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32)
log = logging.getLogger(__name__)


def configure_environment(topology: str) -> None:
    """Sets the environment for compile-only devices: a CPU backend, simulated CPU devices for GPUs
    where there is no CUDA plugin, and compilers without warnings.

    Call it before jax is imported.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"
    # The cache can store programs for compile-only devices, but not load them.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    kind, sides = parse(topology)
    if kind in GPUS and gpus.installed_plugin():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # ignore this machine's GPUs
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    elif kind in GPUS:
        count = f"--xla_force_host_platform_device_count={math.prod(sides)}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {count}"
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def compile_only_devices(topology: str, slices: int = 1) -> tuple[list[Any], str]:
    """(devices, kind of GPU) for `slices` pods or parts of pods ("v5e:4x4", "v5p:8x16x16"), or for
    machines with GPUs ("h100:2x8"). The kind is that of the GPUs for which CPU devices stand,
    otherwise "".

    Raises ConfigError for an unknown topology, with the nearest ones, and when libtpu is missing.
    """
    kind, sides = parse(topology)
    if slices < 1:
        raise ConfigError(f"--slices must be at least 1; received {slices}")
    if kind in GPUS:
        if slices > 1:
            raise ConfigError(
                f"--slices needs a TPU topology; received {topology}, --slices={slices}"
            )
        return gpu_devices(kind, sides[0], sides[1])
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            "a TPU topology needs libtpu, which is not installed. "
            "Install the extra: pip install -e '.[tpu]'"
        )
    if mismatch := libtpu_mismatch():
        log.warning("%s. Programs may not compile or load. Fix: %s", *mismatch)
    try:
        return tpu_devices(kind, sides, slices), ""
    except RuntimeError as error:
        near = ", ".join(nearest_topologies(kind, sides))
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"--topology must be one that exists; received {topology!r}; libtpu reports {reason}. "
            f"The nearest are {near}"
        ) from None


def gpu_devices(kind: str, machines: int, each: int) -> tuple[list[Any], str]:
    """(the CUDA plugin's compile-only GPUs, ""); without the plugin (CPU devices, kind of GPU)."""
    if gpus.installed_plugin():
        try:
            return gpus.compile_only_devices(kind, machines, each), ""
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"jax's CUDA plugin cannot compile for {GPUS[kind].name}: {reason}. Without the "
                "plugin, CPU devices stand for GPUs"
            ) from None
    import jax

    log.info(
        "CPU devices stand for the GPUs. To compile for %s: pip install -e '.[cuda12]'",
        GPUS[kind].name,
    )
    return jax.devices()[: machines * each], GPUS[kind].name


def libtpu_mismatch() -> tuple[str, str] | None:
    """(message, command that fixes it) where libtpu is not the release that jax requires; None
    where it is, or where its version is unknown."""
    requirements = [Requirement(line) for line in metadata.requires("jax") or ()]
    required = next((one for one in requirements if one.name == "libtpu"), None)
    try:
        version = metadata.version("libtpu")
    except metadata.PackageNotFoundError:  # installed without package metadata
        return None
    if required is None or required.specifier.contains(version, prereleases=True):
        return None
    specifier = required.specifier
    jax_version = metadata.version("jax")
    message = f"jax {jax_version} requires libtpu{specifier}, but libtpu {version} is installed"
    return message, f"pip install 'libtpu{specifier}'"


def parse(topology: str) -> tuple[str, tuple[int, ...]]:
    """("v5e", (4, 4)) for "v5e:4x4". Raises ConfigError."""
    kind, _, layout = topology.partition(":")
    kind = kind.lower()
    dimensions = {**TPU_DIMENSIONS, **dict.fromkeys(GPUS, 2)}
    if kind not in dimensions:
        raise ConfigError(
            f"--topology must begin with a TPU generation ({', '.join(TPU_DIMENSIONS)}), as in "
            f"v5e:4x4, or with a GPU ({', '.join(GPUS)}), as in h100:2x8; received {topology!r}"
            f"{registry.did_you_mean(kind, dimensions)}"
        )
    sides = layout.split("x")
    if len(sides) == 1 and kind in GPUS:
        sides = ["1", *sides]  # one machine
    if len(sides) != dimensions[kind] or not all(side.isdigit() and int(side) for side in sides):
        example = "x".join(["4"] * dimensions[kind])
        raise ConfigError(
            f"a {kind} topology must have {dimensions[kind]} sides, as in {kind}:{example}; "
            f"received {topology!r}"
        )
    sizes = tuple(int(side) for side in sides)
    if kind in GPUS and math.prod(sizes) > MOST_GPUS:
        raise ConfigError(
            f"a GPU topology must have at most {MOST_GPUS} GPUs; received {topology!r}, "
            f"{math.prod(sizes)} GPUs"
        )
    return kind, sizes


def tpu_devices(kind: str, sides: tuple[int, ...], slices: int) -> list[Any]:
    """libtpu's compile-only devices; RuntimeError for a topology that libtpu does not know."""
    from jax.experimental import topologies

    options: dict[str, Any] = {"num_slices": slices} if slices > 1 else {}
    if kind in CHIP_CONFIGS:
        options["chip_config_name"] = CHIP_CONFIGS[kind]
    name = f"{kind}:{'x'.join(map(str, sides))}"
    return list(topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices)


def nearest_topologies(kind: str, sides: tuple[int, ...]) -> Iterator[str]:
    """The three existing topologies that are nearest in sides and in chips, nearest first."""

    def distance(other: tuple[int, ...]) -> float:
        chips = abs(math.log(math.prod(other) / math.prod(sides)))
        return chips + sum(abs(math.log(a / b)) for a, b in zip(other, sides, strict=True))

    def exists(other: tuple[int, ...]) -> bool:
        try:
            return bool(tpu_devices(kind, other, 1))
        except RuntimeError:
            return False

    candidates = sorted(itertools.product(SIDES, repeat=len(sides)), key=distance)
    for other in itertools.islice(filter(exists, candidates), 3):
        yield f"{kind}:{'x'.join(map(str, other))}"
