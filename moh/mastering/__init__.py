"""Converts the owner's music file for the telephone, before any call."""
