"""Files of a user and of a run: paths, atomic writes, parsing."""
