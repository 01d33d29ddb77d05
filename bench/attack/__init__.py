"""Attacks on a real server: floods, and amplification by forged source addresses."""
