"""Restoring a trained model and sampling from it."""
