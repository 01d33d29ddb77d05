"""The server's own addresses as a caller sees them, and the tokens that cannot be guessed.

The law kept here: as far as the server knows, the caller can reach each advertised address without any setting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from ..common.actions import Address, Flow
from ..common.addresses import (
    is_loopback,
    is_unicast,
    is_unspecified,
    lenient_literal,
    out_of_reach,
    same_family,
    usual_text,
)
from ..common.errors import Refusal
from .headers import NameAddr, Uri, Via
from .message import Request
from .writer import default_port

MAX_NAME = 253
"""Longest host name in characters (RFC 1035 §2.3.4, without the octets of the first and last length)."""


class Reach(NamedTuple):
    """How a caller reaches us."""

    contact: str
    """The host, with the port, as a URI has them: a literal address or a name."""
    media: str
    """The literal address for session descriptions."""


@dataclass
class Identity:
    """What the core knows of the machine that it runs on.

    ``new_token`` makes an unguessable token of 16 hexadecimal digits, ``new_key`` a key and salt for SRTP, 30 octets in
    base64. ``local_address`` returns the address from which a packet to a given host would leave, empty without a
    route. ``advertised`` is the owner's setting for the address in Contact and SDP, empty without one. ``secret`` is
    the key for the tags of stateless answers. ``is_behind_a_bridge`` says whether an address is one that a container
    engine gave to this container, so that other machines reach a published port instead.
    """

    new_token: Callable[[], str]
    local_address: Callable[[str], str]
    new_key: Callable[[], str]
    advertised: str = ""
    secret: bytes = field(default=b"", repr=False)
    is_behind_a_bridge: Callable[[str], bool] = lambda host: False

    @property
    def advice(self) -> str:
        """What the owner can do about an answer that names an address which the caller cannot reach."""
        former = f", which is {self.advertised}," if self.advertised else ""
        return f"set MOH_ADVERTISED_ADDRESS{former} to an address of this machine that phones can reach"

    def reach(self, request: Request, flow: Flow, resolved: str = "") -> Reach:
        """How this caller reaches us; ``resolved`` is the address of the ``dialled_name``, empty where none is known.

        The name goes into Contact even without an address, since the caller has one. It does not where it leads to the
        caller itself, or to a proxy that has forwarded the request.
        """
        own = self.own_address(request, flow)
        # a loopback address that a proxy of the container engine listens at: our packets come from our own address
        proxied = is_loopback(own.host) and not is_loopback(flow.local.host) and own.host != self.advertised
        host = flow.local.host if proxied else own.host
        if not self.dialled_name(request, flow):
            return Reach(str(own), host)
        uri = request.parsed_uri
        if resolved and _is_of_sender(_address(resolved, uri.port, flow), request, flow):
            return Reach(str(own), host)
        usable = is_unicast(resolved) and not is_loopback(resolved) and same_family(resolved, host)
        # a name without a port leads to the port that its SRV records name (RFC 3263 §4.2)
        contact = uri.host if uri.port is None else f"{uri.host}:{uri.port}"
        return Reach(contact, resolved if usable else host)

    def dialled_name(self, request: Request, flow: Flow) -> str:
        """The host name in the Request-URI, in lower case, where it has to be our Contact; otherwise empty.

        It has to be where the address that the request came to is translated on its way: a router or a container
        engine has received the request at another address. Where that is not so, our own address is the better
        Contact: the caller has reached it, and needs no DNS for it. The name of the caller or of a proxy is not ours.
        """
        if self._is_advertised(flow) or not self._is_translated(flow):
            return ""
        return _name_of_us(request, flow)

    def own_address(self, request: Request, flow: Flow) -> Address:
        """The address and SIP port by which this caller reaches us, as far as they are known without any look-up.

        That is the owner's setting; without one, the host of the Request-URI, if it is a literal address of the family
        that the request came by; otherwise the address that the request came to. The Request-URI says nothing of us
        where it names the caller itself, or a proxy that has forwarded the request.
        """
        uri = request.parsed_uri
        address = usual_text(uri.host)
        host, port = flow.local
        if address and is_unicast(address) and same_family(address, host):
            dialled = _address(address, uri.port, flow)
            if not _is_of_sender(dialled, request, flow):
                host, port = dialled
        if self._is_advertised(flow):
            host = self.advertised
            if not address and self._is_translated(flow) and _name_of_us(request, flow):
                port = uri.port or default_port(flow)
        return Address(host, port)

    def _is_advertised(self, flow: Flow) -> bool:
        """Whether the owner has set the address for callers of this family."""
        return bool(self.advertised) and same_family(self.advertised, flow.local.host)

    def _is_translated(self, flow: Flow) -> bool:
        """Whether this caller cannot reach the address that its request came to: it is behind a bridge or a router."""
        return self.is_behind_a_bridge(flow.local.host) or out_of_reach(flow.local.host, flow.remote.host)

    def media_host(self, own: str, flow: Flow, remote: str) -> str:
        """The local address of media to ``remote``, for a caller that reaches us by ``own``.

        It is ``own``, unless that is of the other family, or only this machine can reach it. Raises ``Refusal`` 488
        where no local address has a route to ``remote``.
        """
        if is_unspecified(remote):
            return own
        if not same_family(own, remote):
            if self.advertised and same_family(self.advertised, remote):
                return self.advertised
            if not (host := self.local_address(remote)):
                why = f"no way from here to {remote}; expected an address of the family that the call came by"
                raise Refusal(488, why, ("Warning", f'301 moh "{why}"'))
            return host
        if is_loopback(own) and is_loopback(flow.local.host) and not is_loopback(remote):
            return self.local_address(remote) or own
        return own

    def stateless_tag(self, request: Request) -> str:
        """A To tag that is the same for equal requests, and that cannot be guessed (RFC 3261 §8.2.7, §19.3)."""
        text = "\n".join((request.call_id, request.from_.tag, str(request.cseq.number), request.via.text))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=self.secret, digest_size=8)
        return digest.hexdigest()


def _name_of_us(request: Request, flow: Flow) -> str:
    """The host name in the Request-URI in lower case; empty for an address, and for a name of caller or proxy."""
    uri = request.parsed_uri
    name = uri.host.lower()
    if len(name) > MAX_NAME or lenient_literal(name) or not all(map(_is_label, name.rstrip(".").split("."))):
        return ""
    return "" if _is_of_sender(_address(name, uri.port, flow), request, flow) else name


def _is_label(text: str) -> bool:
    """Whether ``text`` can stand between two dots of a host name."""
    return 0 < len(text) < 64 and text[0] != "-" and text[-1] != "-"


def _address(host: str, port: Optional[int], flow: Flow) -> Address:
    return Address(host, port or default_port(flow))


def _is_of_sender(dialled: Address, request: Request, flow: Flow) -> bool:
    """Whether ``dialled``, with a literal or a name, is the caller or a proxy between the caller and us.

    The source and the proxies in Record-Route count with any port. Those in Via and Contact may have any address behind
    a NAT: a phone on the host of our container has ours, with another port.
    """
    if dialled.host == flow.remote.host:
        return True
    if any(
        _host(Uri.parse(NameAddr.parse(route).uri).host) == dialled.host for route in request.listed("record-route")
    ):
        return True
    named = [(via.host, via.port) for via in _vias(request)]
    contact = request.target_uri
    if contact is not None:
        named.append((contact.host, contact.port))
    usual_port = default_port(flow)
    return any((port or usual_port) == dialled.port and _host(host) == dialled.host for host, port in named)


def _vias(request: Request) -> Iterator[Via]:
    """The Vias that can be read; only the first one has to be."""
    if request.all("via") == [request.via.text]:  # as nearly always there is one, which has been read
        yield request.via
        return
    for text in request.readable("via"):
        try:
            yield Via.parse(text)
        except Refusal:
            continue


def _host(text: str) -> str:
    """A literal address as ``Address`` has it; a name in lower case."""
    return usual_text(text) or text.lower()
