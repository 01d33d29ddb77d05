"""The two errors that the server expects: a request is refused, or a setting is wrong.

The law kept here: the code that finds the fault in a request decides the status of the response, in a ``Refusal``.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request that gets a 3xx to 6xx response and changes nothing (RFC 3261 §8.2, §21).

    ``status`` is the SIP status code, 300 to 699. ``why`` becomes the reason phrase and the line in the log: it names
    the thing, shows its value and says what is expected. ``headers`` are the header fields that the status requires:
    Allow with 405, Accept with 415, Unsupported with 420, Warning with 488, Retry-After with 503. ``counted_as`` is one
    of a few fixed texts by which such refusals are counted; empty: by method and status.
    """

    def __init__(self, status: int, why: str, *headers: tuple[str, str], counted_as: str = "") -> None:
        super().__init__(f"{status} {why}")
        self.status = status
        self.why = why
        self.headers = headers
        self.counted_as = counted_as


class SettingsError(Exception):
    """A setting with which the server cannot start; its text is the one line that the owner reads."""
