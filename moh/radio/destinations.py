"""Which hosts a radio may be fetched from: hosts on the internet, and those in the owner's ``MOH_ALLOW_RADIO``.

An address of this machine itself counts as one inside, public or not.

The law kept here: an address is checked after its name was looked up, and the connection goes to that very address. So
no name leads elsewhere between the check and the connection, and each connection is checked: those of redirects, lists
and HLS segments too.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from ..common.addresses import Network, is_public, is_unicast, meanings, within

CONNECT_TIMEOUT = 10.0
"""Seconds that all addresses of a host together have to accept a connection."""
EACH_TIMEOUT = 4.0
"""Seconds that one address has, if there are others: IPv6 may lead nowhere, and IPv4 is tried then."""
MOST_ADDRESSES = 8
"""Addresses of a host that are tried."""


class SourceFailed(Exception):
    """A station cannot be fetched, or no longer. The text says why, in one line for the owner."""


def is_permitted(host: str, allowed: tuple[Network, ...]) -> bool:
    """Whether a radio may be fetched from the literal address ``host``."""
    return all(is_unicast(each) and (is_public(each) or within(each, allowed)) for each in meanings(host))


def is_this_machine(family: int, address: Any) -> bool:
    """Whether packets to ``address`` stay on this machine: then the system would send them from that very address.

    A firewall in front of the machine does not see them, so services that are closed to the internet are open to them.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)  # this sends nothing
            return bool(probe.getsockname()[0] == address[0])
        except OSError:
            return False


def connect(host: str, port: int, allowed: tuple[Network, ...]) -> socket.socket:
    """Connect to ``host``, by name or literal. Raises ``SourceFailed``."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            raise SourceFailed(f"no such host: {host}") from None
        raise SourceFailed(f"the name {host} cannot be looked up: {error.strerror}") from None
    except (OSError, UnicodeError, ValueError):
        raise SourceFailed(f"no such host: {host!r}") from None
    addresses = [(family, str(address[0]), address) for family, _, _, _, address in found[:MOST_ADDRESSES]]
    public = [each for each in addresses if is_permitted(each[1], allowed)]
    permitted = [each for each in public if within(each[1], allowed) or not is_this_machine(each[0], each[2])]
    if not permitted:
        literal = public[0][1] if public else addresses[0][1] if addresses else host
        leads = "" if literal == host else f" leads to {literal}, which"
        what = "is an address of this machine" if public else "is not on the internet"
        raise SourceFailed(f"{host}{leads} {what}; MOH_ALLOW_RADIO={literal} would allow it")
    give_up, why = time.monotonic() + CONNECT_TIMEOUT, ""
    for family, literal, address in permitted:
        left = give_up - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(min(left, EACH_TIMEOUT) if len(permitted) > 1 else left)
            connection.connect(address)
        except socket.timeout:
            why = why or f"{literal} port {port} does not answer within {connection.gettimeout():.0f} s"
        except OSError as error:
            why = why or f"cannot connect to {literal} port {port}: {error.strerror or error}"
        else:
            return connection
        connection.close()
    raise SourceFailed(why)
