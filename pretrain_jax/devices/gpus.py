"""Descriptions of GPUs for XLA, which compiles for them without a GPU or a driver.

It needs jax's CUDA plugin (the extra cuda12 or cuda13). Such a program lacks the choices for which
XLA must run kernels on a GPU: the fastest of several kernels for a matrix product, and whether
cuDNN supports an attention.
"""

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from typing import Any

PLUGINS = {"cuda12": "jax_plugins.xla_cuda12", "cuda13": "jax_plugins.xla_cuda13"}


@dataclass(frozen=True)
class Gpu:
    """The properties of a GPU that the compiler needs, from NVIDIA's data sheets and the table of
    compute capabilities in its programming guide."""

    name: str
    """The start of jax's device_kind."""
    capability: tuple[int, int]
    """Compute capability, major and minor."""
    processors: int
    """Streaming multiprocessors."""
    lanes: int
    """float32 units per multiprocessor."""
    shared_memory: int
    """Bytes per multiprocessor; a block gets 1 KiB less."""
    cache: int
    """Bytes of L2 cache."""
    clock: float
    """GHz."""
    memory: int
    """Bytes, as the driver reports them."""
    memory_rate: float
    """Bytes per second."""


GPUS = {
    "a100": Gpu("NVIDIA A100", (8, 0), 108, 64, 167_936, 40 << 20, 1.41, 84_987_740_160, 2.039e12),
    "h100": Gpu("NVIDIA H100", (9, 0), 132, 128, 233_472, 50 << 20, 1.98, 84_929_347_584, 3.35e12),
    "h200": Gpu("NVIDIA H200", (9, 0), 132, 128, 233_472, 50 << 20, 1.98, 150_109_880_320, 4.8e12),
}
TARGET = """
gpu_device_info {{
  cuda_compute_capability {{ major: {capability[0]} minor: {capability[1]} }}
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared_memory}
  shared_memory_per_block_optin: {block_memory}
  core_count: {processors}
  fpus_per_core: {lanes}
  clock_rate_ghz: {clock}
  l2_cache_size: {cache}
  memory_bandwidth: {rate}
  device_memory_size: {memory}
}}
platform_name: "CUDA"
device_description_str: "{name}"
runtime_version {{ major: {cuda} }}
dnn_version_info {{ major: {dnn[0]} minor: {dnn[1]} }}
"""
"""XLA's target config (xla/stream_executor/device_description.proto)."""


def installed_plugin() -> str:
    """The installed CUDA plugin, "cuda12" or "cuda13"; "" if no plugin is installed."""
    for name, module in PLUGINS.items():
        try:
            if importlib.util.find_spec(module):
                return name
        except ModuleNotFoundError:  # there is no package jax_plugins
            return ""
    return ""


def cudnn_version(plugin: str) -> list[str]:
    """Major and minor version of the installed cuDNN; without package metadata, the oldest version
    that jax 0.10 accepts."""
    try:
        return metadata.version(f"nvidia-cudnn-cu{plugin[-2:]}").split(".")[:2]
    except metadata.PackageNotFoundError:
        return ["9", "8"]


def compile_only_devices(kind: str, machines: int, each: int) -> list[Any]:
    """jax devices for `machines` machines with `each` GPUs of a kind ("h100")."""
    from jax.experimental import topologies

    return list(
        topologies.get_topology_desc(
            platform="cuda",
            topology=f"1x{machines}x{each}",
            target_config=target_config(GPUS[kind], installed_plugin()),
        ).devices
    )


def target_config(gpu: Gpu, plugin: str) -> str:
    """XLA's target config of a GPU, with the plugin's versions of CUDA and cuDNN."""
    values = {name: getattr(gpu, name) for name in gpu.__dataclass_fields__}
    return TARGET.format(
        **values,
        block_memory=gpu.shared_memory - 1024,
        rate=int(gpu.memory_rate),
        cuda=plugin[-2:],
        dnn=cudnn_version(plugin),
    )
