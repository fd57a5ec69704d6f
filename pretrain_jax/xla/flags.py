"""What XLA is told beside the program, each with what it was seen to do: all but how many CPU
devices stand for GPUs (topology.py).

A name that XLA does not know ends the compilation, so tests compile with every one of them. Nothing
is set for speed: what was tried without gain stands in docs/performance.md.
"""

import os
from typing import Any

MEMORY_SHARE = 0.92
"""Of a GPU's memory that a run takes at its start; jax's own default is 0.75."""


def step_options(platform: str, dropping: bool, deterministic: bool) -> dict[str, Any]:
    """Compiler options of a training step.

    tpu  keeps products out of products where something is dropped between them: libtpu 0.0.42
         runs out of stack when it lays out three in one another (t5_3b, t5_11b)
    gpu  repeats bit for bit when told to; the others always do
    """
    if platform == "tpu" and dropping:
        return {"xla_tpu_dot_dot_fusion": False}
    if platform == "gpu" and deterministic:
        return {"xla_gpu_deterministic_ops": True}
    return {}


def plan_options(platform: str, full: bool) -> dict[str, Any]:
    """Compiler options of a program that is only looked at; `full`: with the effort of a run.

    tpu  the least effort that XLA takes (0 is its default): a third of the time, peaks of 5 % less
         to 8 % more
    gpu  products by cuBLAS, and no kernel timed against another, which would take a GPU: Triton's
         products have no default where results are to repeat (jax 0.11)
    """
    if platform == "tpu" and not full:
        return {"exec_time_optimization_effort": -1.0}
    if platform == "gpu":
        return {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
    return {}


def reserve_gpu_memory() -> None:
    """Has jax reserve MEMORY_SHARE of every GPU, unless the user says how much, by the name of old
    or of now: jax refuses both. Call it before jax is imported."""
    if "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
        os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", str(MEMORY_SHARE))
