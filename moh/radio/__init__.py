"""Radios: live music from the internet, decoded once and written into rings that all callers hear."""
