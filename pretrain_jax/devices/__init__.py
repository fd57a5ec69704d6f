"""Chips, and devices that are not here."""
