"""XLA's compiler options, memory and caches."""
