"""GPUs that are not here, described to XLA: it compiles for them without a driver.

It needs jax's CUDA plugin (the extra cuda12 or cuda13). What is left out of such a program is what
takes a GPU to find out: which of several kernels for a product is the fastest, and whether cuDNN
takes the attention that it is given.
"""

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from typing import Any

PLUGINS = {"cuda12": "jax_plugins.xla_cuda12", "cuda13": "jax_plugins.xla_cuda13"}


@dataclass(frozen=True)
class Gpu:
    """What the compiler asks of a GPU: NVIDIA's data sheets, and its programming guide's table of
    compute capabilities."""

    name: str
    """As jax calls it, to begin with."""
    capability: tuple[int, int]
    processors: int
    """Streaming multiprocessors."""
    lanes: int
    """float32 units of one of them."""
    shared_memory: int
    """Bytes of one of them; a block gets 1 KiB less."""
    cache: int
    """Bytes of the second level."""
    clock: float
    """GHz."""
    memory: int
    """Bytes, as the driver gives them."""
    memory_rate: float
    """Bytes a second."""


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
"""What XLA calls a target config (xla/stream_executor/device_description.proto)."""


def installed_plugin() -> str:
    """ "cuda12" or "cuda13": the plugin that is here; "" for none."""
    for name, module in PLUGINS.items():
        try:
            if importlib.util.find_spec(module):
                return name
        except ModuleNotFoundError:  # no plugin of any kind
            return ""
    return ""


def cudnn_version(plugin: str) -> list[str]:
    """Major and minor version of the cuDNN that is here; where it came without its papers, of the
    oldest that jax 0.10 takes."""
    try:
        return metadata.version(f"nvidia-cudnn-cu{plugin[-2:]}").split(".")[:2]
    except metadata.PackageNotFoundError:
        return ["9", "8"]


def compile_only_devices(kind: str, machines: int, each: int) -> list[Any]:
    """jax's devices: `machines` machines of `each` GPUs of a kind ("h100")."""
    from jax.experimental import topologies

    return list(
        topologies.get_topology_desc(
            platform="cuda",
            topology=f"1x{machines}x{each}",
            target_config=target_config(GPUS[kind], installed_plugin()),
        ).devices
    )


def target_config(gpu: Gpu, plugin: str) -> str:
    """A GPU as XLA's text wants it, with the CUDA and cuDNN of the plugin."""
    values = {name: getattr(gpu, name) for name in gpu.__dataclass_fields__}
    return TARGET.format(
        **values,
        block_memory=gpu.shared_memory - 1024,
        rate=int(gpu.memory_rate),
        cuda=plugin[-2:],
        dnn=cudnn_version(plugin),
    )
