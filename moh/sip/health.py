"""What the health check is told beside the status of its OPTIONS. It asks from this machine; phones need not know."""

from __future__ import annotations

from ..common.actions import Flow
from ..guard.rate_limit import is_this_machine
from .message import Request
from .transaction import HeaderFields
from .writer import quoted

CHECK, MUSIC = "moh-check", "music"
"""The header field, and its value, by which the health check asks whether music leaves the server."""
LISTENING = "it is being found out whether music leaves the server"
"""What it is told while that is not known. ``test_udp.py`` has the same text."""


class Health:
    """What the owner has to mend, or has to wait for, although calls are answered."""

    trouble = ""
    """One line for the owner about the music; empty if all is well."""
    no_music = ""
    """One line for the owner where no music leaves the server, whatever is played; empty if it does."""
    music_known = False
    """Whether ``no_music`` is the truth of these seconds."""
    music_asked = False
    """Whether the health check has asked for it since it was known."""

    @property
    def text(self) -> str:
        """The worst that is wrong; empty if all is well."""
        return self.no_music or self.trouble

    def asks_for_music(self, request: Request, flow: Flow) -> bool:
        """Whether this is the health check of this machine. To that, a server that is busy or drains is healthy."""
        return request.first(CHECK) == MUSIC and self._is_local(request, flow)

    def _is_local(self, request: Request, flow: Flow) -> bool:
        return is_this_machine(flow.remote.host, flow.local.host) and len(request.listed("via")) == 1

    def headers(self, request: Request, flow: Flow) -> HeaderFields:
        """The header fields that the answer to the OPTIONS ``request`` by ``flow`` has beside the usual ones.

        Warning 399 is for a person to read (RFC 3261 §20.43). It names the owner's file, so it does not leave this
        machine: a second Via says that a proxy here forwards the request, and takes the answer to another sender.
        """
        if not self._is_local(request, flow):
            return []
        text = self.text
        if request.first(CHECK) == MUSIC and not self.music_known:
            self.music_asked = True
            text = LISTENING
        return [("Warning", f"399 moh {quoted(text)}")] if text else []
