"""XLA's compiler options and settings, each with its measured effect. (devices/topology.py sets the
number of CPU devices that stand for GPUs.)

XLA refuses to compile with an unknown option, so tests compile with every option here. No option is
set for speed; docs/performance.md lists those that brought no gain.
"""

import os
from typing import Any

MEMORY_SHARE = 0.92
"""Share of a GPU's memory that a run reserves at its start; jax's own default is 0.75."""


def step_options(platform: str, dropping: bool, deterministic: bool) -> dict[str, Any]:
    """Compiler options of a training step.

    tpu  with dropout, does not fuse matrix products into each other: libtpu 0.0.42 runs out of
         stack when it lays out three nested products (t5_3b, t5_11b)
    gpu  with `deterministic`, repeats bit for bit; the other platforms always do
    """
    if platform == "tpu" and dropping:
        return {"xla_tpu_dot_dot_fusion": False}
    if platform == "gpu" and deterministic:
        return {"xla_gpu_deterministic_ops": True}
    return {}


def plan_options(platform: str, full: bool) -> dict[str, Any]:
    """Compiler options of a program that is analyzed and not run.

    tpu  unless `full`, XLA's least effort (its default is 0): a third of the compile time, and peak
         memory 5 % below to 8 % above that of a real run
    gpu  matrix products by cuBLAS and no autotuning, which would need a GPU; Triton's products have
         no default where results must repeat (jax 0.11)
    """
    if platform == "tpu" and not full:
        return {"exec_time_optimization_effort": -1.0}
    if platform == "gpu":
        return {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
    return {}


def reserve_gpu_memory() -> None:
    """Makes jax reserve MEMORY_SHARE of every GPU, unless the user's environment sets a share, by
    jax's old or new variable (jax refuses both together). Call it before jax is imported."""
    if "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
        os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", str(MEMORY_SHARE))
