"""Where arrays live: the device mesh, and the rules that map logical axes to mesh axes."""
