"""Restore a trained model and sample from it."""
