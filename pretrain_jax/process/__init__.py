"""This process: how it ends, its streams, memory and children."""
