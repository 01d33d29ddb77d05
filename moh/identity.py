"""Who we are towards one caller: the address he reaches us by, the tokens that nobody can guess.

The law kept here: what is advertised is reachable for the caller without any setting, as far as can be known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from .actions import Address, Flow
from .addresses import is_loopback, is_unicast, literal
from .headers import Uri
from .message import Request
from .reply import SIP_PORT


@dataclass
class Identity:
    """What the core is told of the machine it runs on.

    ``new_token`` makes a new unguessable token of at least 12 hexadecimal digits. ``local_address`` tells from which of
    our addresses a packet to a given host would leave, empty where there is no way. ``advertised`` is the owner's word
    on the address in Contact and SDP, empty without one. ``secret`` keys the tags of what is answered and forgotten.
    """

    new_token: Callable[[], str]
    local_address: Callable[[str], str]
    advertised: str = ""
    secret: bytes = field(default=b"", repr=False)

    def own_address(self, request: Request, flow: Flow, media_host: str) -> Address:
        """The address and SIP port by which this caller reaches us, and by which the media to ``media_host`` leaves.

        What the caller dialled, if that is a literal address; else the address that the request came to. One that
        only this machine can reach is of no use for media to another.
        """
        dialled = Uri.parse(request.uri)
        address = literal(dialled.host)
        host, port = flow.local
        if address is not None and is_unicast(dialled.host):
            host, port = str(address), dialled.port or SIP_PORT
        if self.advertised:
            return Address(self.advertised, port)
        if is_loopback(host) and is_loopback(flow.local.host) and not is_loopback(media_host):
            host = self.local_address(media_host) or host
        return Address(host, port)

    def stateless_tag(self, request: Request) -> str:
        """A To tag that is the same for the same request, and that nobody else can make (RFC 3261 §8.2.7, §19.3)."""
        text = "\n".join((request.call_id, request.from_.tag, str(request.cseq.number), request.via.text))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=self.secret, digest_size=8)
        return digest.hexdigest()
