"""A number with its noun, for lines that people read."""

from __future__ import annotations


def amount(number: int, noun: str) -> str:
    """``number`` and ``noun``, with an s where that is due: ``1 call``, ``2 calls``, ``0 calls``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
