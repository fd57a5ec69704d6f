"""Where arrays live: the mesh and the table from logical axes to mesh axes."""
