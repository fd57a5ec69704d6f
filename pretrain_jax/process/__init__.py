"""This process: its exit, standard streams, memory and child processes."""
