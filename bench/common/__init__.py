"""What the measurements share: programs, callers, receivers, figures, plots."""
