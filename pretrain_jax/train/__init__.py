"""Where host and device meet: the state, the pure step, the loop, checkpoints and metrics."""
