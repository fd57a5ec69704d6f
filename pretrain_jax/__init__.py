"""Pretraining of Transformers in JAX: one block, one data path, one trainer.

import pretrain_jax

model = pretrain_jax.load("runs/gpt2_nano")
model.generate(["def main("], tokens=50)[0].text
"""

__version__ = "0.1.0"

import sys
import time
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING

from pretrain_jax.process import shutdown

if TYPE_CHECKING:
    from pretrain_jax.inference.trained_model import TrainedModel

BEGAN = time.monotonic()
"""When this process first imported the package; start-up times count from here."""

if sys.argv[:1] == ["-m"]:  # `python -m pretrain_jax.main`; a library leaves signals alone
    shutdown.exit_on_signals()


def load(
    path: str | PathLike[str],
    step: int | None = None,
    dtype: str = "auto",
    mesh: Mapping[str, int] | None = None,
) -> "TrainedModel":
    """A trained model to generate, score, fill, embed and compute logits with.

    path: the workdir of a run, a checkpoint in it, such as "runs/xl/checkpoints/1000", or the
    folder of a model of Hugging Face's transformers.
    step: of the checkpoint; None is the last.
    dtype: of matrix products: "float32", "bfloat16", or "auto", which is that of the run.
    mesh: sizes of mesh axes over all devices, such as {"data": 2, "tensor": 2}; None is one device.

    Raises InputMissing if there is no such model; the errors are in `pretrain_jax.errors`.
    """
    from pretrain_jax.huggingface import _load  # jax is imported only when a model is loaded

    return _load.load(path, step, dtype, mesh)
