"""Many processes as one run: who is present, and agreement between them."""
