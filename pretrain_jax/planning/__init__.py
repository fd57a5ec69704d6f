"""What a run would take and do, without running it."""
