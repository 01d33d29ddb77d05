"""What the measurements share: processes, receivers, figures, plots."""
