"""Tests of ``moh.library``."""
