"""Outputs of a run for people: metrics, event files, plots, tables."""
