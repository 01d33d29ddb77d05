"""The server's own addresses as a caller sees them, and the tokens that cannot be guessed.

The law kept here: as far as the server knows, the caller can reach each advertised address without any setting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..common.actions import Address, Flow
from ..common.addresses import is_loopback, is_unicast, is_unspecified, literal, same_family
from ..common.errors import Refusal
from .headers import NameAddr, Uri, Via
from .message import Request
from .writer import default_port


@dataclass
class Identity:
    """What the core knows of the machine that it runs on.

    ``new_token`` makes an unguessable token of 16 hexadecimal digits, ``new_key`` a key and salt for SRTP, 30 octets in
    base64. ``local_address`` returns the address from which a packet to a given host would leave, empty without a
    route. ``advertised`` is the owner's setting for the address in Contact and SDP, empty without one. ``secret`` is
    the key for the tags of stateless answers.
    """

    new_token: Callable[[], str]
    local_address: Callable[[str], str]
    new_key: Callable[[], str]
    advertised: str = ""
    secret: bytes = field(default=b"", repr=False)

    def own_address(self, request: Request, flow: Flow) -> Address:
        """The address and SIP port by which this caller reaches us.

        That is the owner's setting; without one, the host of the Request-URI, if it is a literal address of the family
        that the request came by; otherwise the address that the request came to. The Request-URI says nothing of us
        where it names the caller itself, or a proxy that has forwarded the request.
        """
        uri = request.parsed_uri
        address = literal(uri.host)
        host, port = flow.local
        if address is not None and is_unicast(uri.host) and same_family(str(address), host):
            dialled = Address(str(address), uri.port or default_port(flow))
            if not _is_of_sender(dialled, request, flow):
                host, port = dialled
        if self.advertised and same_family(self.advertised, flow.local.host):
            host = self.advertised
        return Address(host, port)

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


def _is_of_sender(dialled: Address, request: Request, flow: Flow) -> bool:
    """Whether ``dialled`` is an address of the caller or of a proxy between the caller and us.

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
    if request.target is not None:
        contact = Uri.parse(request.target)
        named.append((contact.host, contact.port))
    return dialled in [Address(_host(host), port or default_port(flow)) for host, port in named]


def _vias(request: Request) -> Iterator[Via]:
    """The Vias that can be read; only the first one has to be."""
    for text in request.readable("via"):
        try:
            yield Via.parse(text)
        except Refusal:
            continue


def _host(text: str) -> str:
    """A literal address as ``Address`` has it; other text as it is."""
    address = literal(text)
    return text if address is None else str(address)
