"""Floods and amplification: what hostile traffic costs."""
