"""Pretraining of decoders, encoders and encoder-decoders in JAX: one block, one data path, one trainer."""

__version__ = "0.1.0"
