"""Files: paths, atomic writes, sealed folders, parsing."""
