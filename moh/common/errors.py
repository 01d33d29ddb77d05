"""What can go wrong, in two words: a request is refused, or a setting is wrong.

The one law here: whoever finds a fault in a request raises ``Refusal`` with the status to answer; nobody else decides.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request that is answered with a 3xx to 6xx status and changes nothing (RFC 3261 §8.2, §21).

    ``status`` is the SIP status code, 300 to 699. ``why`` becomes the reason phrase and the line in the log: it names
    the thing, shows its value and says what would be right. ``headers`` are the further header fields the answer
    owes its reader: Allow with 405, Accept with 415, Unsupported with 420, Warning with 488, Retry-After with 503.
    """

    def __init__(self, status: int, why: str, *headers: tuple[str, str]) -> None:
        super().__init__(f"{status} {why}")
        self.status = status
        self.why = why
        self.headers = headers


class SettingsError(Exception):
    """A setting that stops the start; its text is the one line that the owner reads."""
