"""The devices that a run is for."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp

from pretrain_jax import registry

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True, eq=False)
class Target:
    """Devices, and what they stand for where they are only described (devices/topology.py)."""

    devices: tuple[Any, ...]
    """The jax devices that the mesh is made of."""
    simulated: str = ""
    """The kind of GPU that CPU devices stand for ("NVIDIA H100"), where they do."""

    @property
    def platform(self) -> str:
        """The platform that the run is for: "cpu", "gpu" or "tpu"."""
        return "gpu" if self.simulated else self.compiled_platform

    @cached_property
    def compiled_platform(self) -> str:
        """The platform that programs are compiled for: "cpu" for simulated GPUs."""
        return self.devices[0].platform

    @property
    def kind(self) -> str:
        """As jax names it: "TPU v5 lite", "cpu"."""
        return self.simulated or self.devices[0].device_kind

    def dtype(self, name: str) -> Any:
        """The dtype of matrix products: `train.dtype`, where "auto" is bfloat16 on accelerators."""
        if name == "auto":
            name = "float32" if self.platform == "cpu" else "bfloat16"
        return registry.pick(DTYPES, name, "train.dtype")
