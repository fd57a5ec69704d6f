"""Pretraining of Transformers in JAX: one block, one data path, one trainer."""

__version__ = "0.1.0"

import time

BEGAN = time.monotonic()
"""When this process first imported the package: what a start is measured from."""
