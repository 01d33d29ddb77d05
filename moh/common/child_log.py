"""The log of a process that the server has started: lines on its standard error, which the server logs as its own."""

from __future__ import annotations

import logging


class ChildFormatter(logging.Formatter):
    """Lines as ``WARNING text``. A text of several lines becomes one, with ``\\r`` in place of ``\\n``."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line."""
        return super().format(record).replace("\n", "\r")


def log_to_the_server(level: int) -> None:
    """Log from ``level`` on to the standard error, for the server."""
    handler = logging.StreamHandler()
    handler.setFormatter(ChildFormatter())
    logging.basicConfig(handlers=[handler], level=level)
