"""SIP messages as the log shows them: nothing that fools a terminal, and no key."""

from __future__ import annotations

KEY = "inline:"


class Redacted:
    """A message for ``%s`` of a log line, each of its lines on one; it is made only if the line is written.

    Keys of SRTP are left out (RFC 4568 §6.1): who reads the log must not be able to listen.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __str__(self) -> str:
        lines = self._data.decode("utf-8", "backslashreplace").rstrip("\r\n").replace("\r\n", "\n").split("\n")
        return "".join("\n    " + self._harmless(line) for line in lines)

    @staticmethod
    def _harmless(line: str) -> str:
        if KEY in line.lower():
            line = line[: line.lower().index(KEY) + len(KEY)] + "(a key)"
        return line if line.isprintable() else repr(line)
