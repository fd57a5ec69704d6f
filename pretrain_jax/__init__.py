"""Pretraining of Transformers in JAX: one block, one data path, one trainer."""

__version__ = "0.1.0"
