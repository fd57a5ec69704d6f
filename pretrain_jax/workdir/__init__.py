"""What a run leaves on disk: claim, checkpoints, history."""
