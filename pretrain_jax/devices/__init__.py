"""Properties of chips, and compile-only devices for hardware that is not present."""
