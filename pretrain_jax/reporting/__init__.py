"""What a run shows: metrics, event files, plots, tables."""
