"""A config becomes values: specification, checks, model, data."""
