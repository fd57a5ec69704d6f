"""Layers that run on the device; models/ combines them into architectures."""
