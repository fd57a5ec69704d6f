"""Training: from the start of a run to its last step."""
