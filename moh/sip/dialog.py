"""The dialog of one call (RFC 3261 §12): its two ends, its sequence numbers, and the route of our requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..common.actions import Address, Flow, Send
from ..common.addresses import is_unicast, out_of_reach, same_family, usual_text
from ..common.errors import Refusal
from .headers import NameAddr, Uri
from .message import Message, Request
from .writer import default_port, write_request

MAX_KEPT = 4096
"""Most octets of From, To, Contact and Record-Route together, which a call keeps to its end."""
MAX_TARGET = 1024
"""Most octets of a Contact that replaces the former one."""

DialogId = tuple[str, str, str]
"""Call-ID, our tag, the other side's tag (§12); a phone of RFC 2543 has an empty tag."""


def dialog_id(request: Request) -> DialogId:
    """The dialog that a request of the other side names."""
    return (request.call_id, request.to.tag, request.from_.tag)


class Dialog:
    """The dialog that our 2xx to ``request`` makes, with us as its UAS (§12.1.1).

    ``own`` is how the other side reaches us, host and port as a URI has them; ``local_tag`` is our tag. Raises
    ``Refusal`` 400 for a Contact or a Record-Route that cannot be read, 513 for more than ``MAX_KEPT`` octets.

    Text is kept as octets, because one character beyond Latin-1 would make each character of a text take up to four.
    """

    __slots__ = (
        "_local", "_local_cseq", "_own", "_remote", "_remote_target", "_route_set", "_secure", "flow", "id",
        "invited_by", "remote_cseq", "takes_update",
    )  # fmt: skip

    def __init__(self, request: Request, flow: Flow, local_tag: str, own: str) -> None:
        self.id: DialogId = (request.call_id, local_tag, request.from_.tag)
        self._own = own
        self.flow = flow
        self.invited_by = flow
        """The way of the first INVITE, by which our tag went back. A re-INVITE may come another way."""
        self.takes_update = request.allows("UPDATE")
        """Whether Allow of the other side names UPDATE."""
        self.remote_cseq = request.cseq.number
        routes = request.listed("record-route")
        for route in routes:
            Uri.parse(NameAddr.parse(route).uri)
        self._route_set = _packed("\n".join(routes))
        self._local = _packed(request.to.tagged(local_tag))
        self._remote = _packed(request.from_.text)
        target = request.target
        self._remote_target = _packed(request.from_.uri if target is None else target)  # RFC 2543 knows no Contact
        kept = sum(map(len, (self._route_set, self._local, self._remote, self._remote_target)))
        if kept > MAX_KEPT:
            why = f"From, To, Contact and Record-Route have {kept} octets; expected at most {MAX_KEPT}"
            raise Refusal(513, why)
        self._local_cseq = 0
        self._secure = request.uri[:5].lower() == "sips:"

    @property
    def from_field(self) -> bytes:
        """The From of the other side, as octets; ``caller_of`` reads it."""
        return self._remote

    @property
    def contact(self) -> str:
        """Our Contact URI (§8.1.1.8): of the same transport, and sips where the Request-URI was sips."""
        if self._secure:
            return f"sips:moh@{self._own}"
        transport = f";transport={self.flow.transport.lower()}" if self.flow.reliable else ""
        return f"sip:moh@{self._own}{transport}"

    def refresh_target(self, message: Message) -> None:
        """Make the Contact in ``message`` the target of our next request (§12.2).

        ``message`` is an INVITE or UPDATE of the phone, or the 2xx to ours. A Contact that cannot be read or is too
        long changes nothing. If it were refused, a hold with such a Contact would not stop the music.
        """
        try:
            target = message.target
        except Refusal:
            return
        if target is not None and len(packed := _packed(target)) <= MAX_TARGET:
            self._remote_target = packed

    def accept_cseq(self, request: Request) -> None:
        """Note the sequence number of a request. Raises ``Refusal`` 500 if a later request came before (§12.2.2)."""
        if request.cseq.number < self.remote_cseq:
            raise Refusal(500, f"CSeq is {request.cseq.number}; expected more than {self.remote_cseq}")
        self.remote_cseq = request.cseq.number

    def request(self, method: str, branch: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Send:
        """Write our next request, with its address (§12.2.1.1)."""
        self._local_cseq += 1
        return self._write(method, self._local_cseq, branch, headers, body)

    def acknowledgement(self, number: int, branch: str) -> Send:
        """Write the ACK to our INVITE of this sequence number, with its address (§13.2.2.4, §17.1.1.3)."""
        return self._write("ACK", number, branch, (), b"")

    @property
    def local_cseq(self) -> int:
        """The sequence number of our latest request."""
        return self._local_cseq

    def _write(self, method: str, number: int, branch: str, headers: Sequence[tuple[str, str]], body: bytes) -> Send:
        target, routes = _unpacked(self._remote_target), _unpacked(self._route_set).split("\n")
        uri, routes = target, list(filter(None, routes))
        next_hop = NameAddr.parse(routes[0]).uri if routes else uri
        if routes and "lr" not in Uri.parse(next_hop).params:
            # a strict router of RFC 2543 expects its own URI as Request-URI, and the target as the last Route
            uri, routes = next_hop, [*routes[1:], f"<{target}>"]
        via = f"SIP/2.0/{self.flow.transport} {self._own};branch={branch};rport"
        fields = [
            ("Via", via),
            *(("Route", route) for route in routes),
            ("Max-Forwards", "70"),
            ("From", _unpacked(self._local)),
            ("To", _unpacked(self._remote)),
            ("Call-ID", self.id[0]),
            ("CSeq", f"{number} {method}"),
            *((("Contact", f"<{self.contact}>"),) if method != "ACK" else ()),
            *headers,
        ]
        return Send(write_request(method, uri, fields, body), self._address(next_hop), self.flow)

    def _address(self, uri: str) -> Address:
        """Where a request to ``uri`` is sent: to its literal address, or back the way that the INVITE came.

        The request goes back that way if the URI has a host name, or an address that the caller itself could not reach:
        a private address if the call came from a public one, as behind a NAT, or the loopback address of the phone. The
        same holds for an address that is not that of one host: to a socket 0.0.0.0 is the loopback, and a multicast
        group has members in the server's own network.
        """
        try:
            parsed: Optional[Uri] = Uri.parse(uri)
        except Refusal:
            parsed = None
        if parsed is None or not (address := usual_text(parsed.host)):
            return self.flow.remote
        if not same_family(address, self.flow.remote.host):  # the INVITE did not come by that family
            return self.flow.remote
        if not is_unicast(parsed.host) or out_of_reach(parsed.host, self.flow.remote.host):
            return self.flow.remote
        return Address(address, parsed.port or default_port(self.flow))


def caller_of(from_field: bytes) -> str:
    """The user and host in a From, such as ``201@pbx.lan``; the text itself where it has none."""
    text = _unpacked(from_field)
    try:
        uri = NameAddr.parse(text).uri
    except Refusal:
        return text
    return uri.partition(":")[2].partition(";")[0].partition("?")[0] or uri


def _packed(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _unpacked(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
