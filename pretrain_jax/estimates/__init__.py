"""FLOPs, memory and meshes from shapes alone."""
