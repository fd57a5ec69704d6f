"""XLA's flags, memory and caches."""
