"""Metrics of finetuned tasks, computed on the host."""
