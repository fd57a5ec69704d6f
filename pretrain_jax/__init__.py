"""Pretraining of Transformers in JAX: one block, one data path, one trainer."""

__version__ = "0.1.0"

import sys
import time

from pretrain_jax.process import shutdown

BEGAN = time.monotonic()
"""When this process first imported the package; start-up times count from here."""

if sys.argv[:1] == ["-m"]:  # `python -m pretrain_jax.main`; a library leaves signals alone
    shutdown.exit_on_signals()
