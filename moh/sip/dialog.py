"""One caller's dialog (RFC 3261 §12): who the two ends are, what was asked last, how a request of ours finds back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..common.actions import Address, Flow, Send
from ..common.addresses import is_unicast, literal, out_of_reach, same_family
from ..common.errors import Refusal
from .headers import NameAddr, Uri
from .message import Request
from .writer import default_port, write_request

DialogId = tuple[str, str, str]
"""Call-ID, our tag, the other side's tag (§12); its tag is empty where it is as old as RFC 2543."""


def dialog_id(request: Request) -> DialogId:
    """The dialog that a request of the other side claims to be in."""
    return (request.call_id, request.to.tag, request.from_.tag)


class Dialog:
    """The dialog that our 2xx to ``request`` makes; we are the UAS in it (§12.1.1).

    ``own`` is the address by which the other side reaches us, ``local_tag`` our tag. Raises ``Refusal`` 400 for a
    Contact or a Record-Route that cannot be read.
    """

    __slots__ = (
        "_local", "_local_cseq", "_own", "_remote", "_remote_target", "_secure", "flow", "id", "invited_by",
        "remote_cseq", "route_set", "takes_update",
    )  # fmt: skip

    def __init__(self, request: Request, flow: Flow, local_tag: str, own: Address) -> None:
        self.id: DialogId = (request.call_id, local_tag, request.from_.tag)
        self._own = own
        self.flow = flow
        self.invited_by = flow
        """The way its first INVITE came, and so the way that our tag went; a later one may come by another."""
        self.takes_update = "UPDATE" in request.option_tags("allow")
        """Whether the other side takes an UPDATE, as far as it has said."""
        self.remote_cseq = request.cseq.number
        self.route_set = tuple(request.listed("record-route"))
        for route in self.route_set:
            Uri.parse(NameAddr.parse(route).uri)
        self._local = request.to.text if request.to.tag else f"{request.to.text};tag={local_tag}"
        self._remote = request.from_.text
        self._remote_target = request.from_.uri  # what RFC 2543 phones without a Contact leave us
        self._local_cseq = 0
        self._secure = request.uri[:5].lower() == "sips:"
        self.refresh_target(request)

    @property
    def contact(self) -> str:
        """Our own Contact URI (§8.1.1.8): by the same transport, and sips where the other side asked for sips."""
        if self._secure:
            return f"sips:moh@{self._own}"
        transport = f";transport={self.flow.transport.lower()}" if self.flow.reliable else ""
        return f"sip:moh@{self._own}{transport}"

    def refresh_target(self, request: Request) -> None:
        """Take the Contact of an INVITE or UPDATE as the place for our next request (§12.2.2)."""
        self._remote_target = self.target_of(request)

    def target_of(self, request: Request) -> str:
        """What ``refresh_target`` would take. Raises ``Refusal`` 400 for a Contact that cannot be read."""
        return self._remote_target if request.target is None else request.target

    def accept_cseq(self, request: Request) -> None:
        """Count the request; raises ``Refusal`` 500 where it is older than one already seen (§12.2.2)."""
        if request.cseq.number < self.remote_cseq:
            raise Refusal(500, f"CSeq is {request.cseq.number}; expected more than {self.remote_cseq}")
        self.remote_cseq = request.cseq.number

    def request(self, method: str, branch: str, headers: Sequence[tuple[str, str]] = ()) -> Send:
        """Write the next request of ours and say where it goes (§12.2.1.1)."""
        self._local_cseq += 1
        uri, routes = self._remote_target, list(self.route_set)
        next_hop = NameAddr.parse(routes[0]).uri if routes else uri
        if routes and "lr" not in Uri.parse(next_hop).params:
            # a strict router of RFC 2543 wants itself in the Request-URI and the target at the end
            uri, routes = next_hop, [*routes[1:], f"<{self._remote_target}>"]
        via = f"SIP/2.0/{self.flow.transport} {self._own};branch={branch};rport"
        fields = [
            ("Via", via),
            *(("Route", route) for route in routes),
            ("Max-Forwards", "70"),
            ("From", self._local),
            ("To", self._remote),
            ("Call-ID", self.id[0]),
            ("CSeq", f"{self._local_cseq} {method}"),
            ("Contact", f"<{self.contact}>"),
            *headers,
        ]
        return Send(write_request(method, uri, fields), self._address(next_hop), self.flow)

    def _address(self, uri: str) -> Address:
        """Where a request to ``uri`` is sent: to its literal address; else back the way the caller's INVITE came.

        Also back that way where that address is out of the caller's own reach: its Contact is private and it called
        from a public address, as behind a NAT, or it is the loopback, of the phone's machine and not of ours. And where
        it is no host's: to a socket 0.0.0.0 is our own loopback, and a multicast group is that of the hosts beside us.
        """
        try:
            parsed: Optional[Uri] = Uri.parse(uri)
        except Refusal:
            parsed = None
        if parsed is None or (address := literal(parsed.host)) is None:
            return self.flow.remote
        if not same_family(str(address), self.flow.remote.host):  # its INVITE did not come by that family
            return self.flow.remote
        if not is_unicast(parsed.host) or out_of_reach(parsed.host, self.flow.remote.host):
            return self.flow.remote
        return Address(str(address), parsed.port or default_port(self.flow))
