"""Measures music by the name that is dialled."""
