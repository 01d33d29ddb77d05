"""Calls that hear music: cost, spacing, set-up rate."""
