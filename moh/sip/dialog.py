"""The dialog of one call (RFC 3261 §12): its two ends, its sequence numbers, and the way that our requests take."""

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
"""Call-ID, our tag, the other side's tag (§12); a phone of RFC 2543 has an empty tag."""


def dialog_id(request: Request) -> DialogId:
    """The dialog that a request of the other side names."""
    return (request.call_id, request.to.tag, request.from_.tag)


class Dialog:
    """The dialog that our 2xx to ``request`` makes, with us as its UAS (§12.1.1).

    ``own`` is the address by which the other side reaches us; ``local_tag`` is our tag. Raises ``Refusal`` 400 for a
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
        """The way of the first INVITE, by which our tag went back. A re-INVITE may come another way."""
        self.takes_update = "UPDATE" in request.option_tags("allow")
        """Whether Allow of the other side names UPDATE."""
        self.remote_cseq = request.cseq.number
        self.route_set = tuple(request.listed("record-route"))
        for route in self.route_set:
            Uri.parse(NameAddr.parse(route).uri)
        self._local = request.to.text if request.to.tag else f"{request.to.text};tag={local_tag}"
        self._remote = request.from_.text
        self._remote_target = request.from_.uri  # for a phone of RFC 2543, which has no Contact
        self._local_cseq = 0
        self._secure = request.uri[:5].lower() == "sips:"
        self.refresh_target(request)

    @property
    def contact(self) -> str:
        """Our Contact URI (§8.1.1.8): of the same transport, and sips where the Request-URI was sips."""
        if self._secure:
            return f"sips:moh@{self._own}"
        transport = f";transport={self.flow.transport.lower()}" if self.flow.reliable else ""
        return f"sip:moh@{self._own}{transport}"

    def refresh_target(self, request: Request) -> None:
        """The Contact of an INVITE or UPDATE becomes the target of our next request (§12.2.2)."""
        self._remote_target = self.target_of(request)

    def target_of(self, request: Request) -> str:
        """The target that ``refresh_target`` would set. Raises ``Refusal`` 400 for a Contact that cannot be read."""
        return self._remote_target if request.target is None else request.target

    def accept_cseq(self, request: Request) -> None:
        """Note the sequence number of a request. Raises ``Refusal`` 500 if a later one has come already (§12.2.2)."""
        if request.cseq.number < self.remote_cseq:
            raise Refusal(500, f"CSeq is {request.cseq.number}; expected more than {self.remote_cseq}")
        self.remote_cseq = request.cseq.number

    def request(self, method: str, branch: str, headers: Sequence[tuple[str, str]] = ()) -> Send:
        """Write our next request, with its address (§12.2.1.1)."""
        self._local_cseq += 1
        uri, routes = self._remote_target, list(self.route_set)
        next_hop = NameAddr.parse(routes[0]).uri if routes else uri
        if routes and "lr" not in Uri.parse(next_hop).params:
            # a strict router of RFC 2543 expects its own URI as Request-URI, and the target as the last Route
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
        """Where a request to ``uri`` is sent: to its literal address, or back the way that the INVITE came.

        It goes back that way for a host name, and for an address that the caller itself could not reach: a private one
        if it called from a public address, as behind a NAT, or the loopback, which is that of the phone's host. So it
        does for an address that is not that of one host: 0.0.0.0 is the loopback to a socket, and a multicast group
        has members in our own network.
        """
        try:
            parsed: Optional[Uri] = Uri.parse(uri)
        except Refusal:
            parsed = None
        if parsed is None or (address := literal(parsed.host)) is None:
            return self.flow.remote
        if not same_family(str(address), self.flow.remote.host):  # the INVITE did not come by that family
            return self.flow.remote
        if not is_unicast(parsed.host) or out_of_reach(parsed.host, self.flow.remote.host):
            return self.flow.remote
        return Address(str(address), parsed.port or default_port(self.flow))
