"""One request on its way through the user agent: what came, from which source, and what has been found out since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional

from ..guard.address_validation import Peer
from ..sdp.offer_answer import NO_NAMES
from .message import Request
from .transaction import Key

REFRESH = "answer to a refresh"
"""The last member of the key of what answers our re-INVITE."""


class Incoming(NamedTuple):
    """A request that has just come, or one that has waited for the addresses of its host names and is resumed."""

    request: Request
    peer: Peer
    key: Key
    """The key of the request's transaction. An answer to our offer has no transaction, but a key of its own."""
    names: Mapping[str, str] = NO_NAMES
    """The addresses of the host names in the request that were looked up; empty for a name without an address."""
    deadline: Optional[float] = None
    """When the look-ups of the host names must be over; ``None`` for a request that has not waited."""

    @property
    def resumed(self) -> bool:
        """Whether the request has waited, so that it was checked and counted before."""
        return self.deadline is not None

    @property
    def answers_late_offer(self) -> bool:
        """Whether the request is an ACK with the answer to the offer in our 200."""
        return self.request.method == "ACK" and self.key[-1] != REFRESH

    def validated(self) -> Incoming:
        """Return the same request with a validated source."""
        return self._replace(peer=self.peer._replace(validated=True))
