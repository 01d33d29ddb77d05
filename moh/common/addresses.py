"""Kinds of IP addresses: private, loopback, unicast and so on. Only literals have a kind; host names have none."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple, Optional, Union

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local
        "fc00::/7",  # unique local, RFC 4193
        "::1/128",
        "fe80::/10",
    )
)
"""Networks that no source on the internet can be in. ``is_private`` of :mod:`ipaddress` includes many more."""
BEHIND_CARRIERS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.64.0.0/10",  # RFC 6598, between a provider's NAT and its customers
        "192.0.0.0/29",  # RFC 7335, the IPv4 address of a phone in a network that has IPv6 only
    )
)
"""Addresses that a phone may have behind a provider's NAT. They are trusted no more than addresses on the internet."""
INWARD = (
    *PRIVATE,
    *BEHIND_CARRIERS,
    *(
        ipaddress.ip_network(text)
        for text in (
            "192.0.0.0/24",  # RFC 6890: protocols between a host and its own network
            "fec0::/10",  # site-local, RFC 3879
            "64:ff9b:1::/48",  # a network's own NAT64, RFC 8215
        )
    ),
)
"""Networks that are not part of the internet: a source on the internet cannot reach them by itself."""
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
IPV4_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 2765 §2.1
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
ISATAP = 0x5EFE
"""The upper 32 bits of an interface identifier that holds an IPv4 address, without ``GLOBAL_BIT`` (RFC 5214 §6.1)."""
GLOBAL_BIT = 0x02000000
PRIVATE_STARTS = (*(f"{str(network).partition('.')[0]}." for network in PRIVATE if network.version == 4), "[")
"""Each literal of a private IPv4 address begins with one of these, with or without a bracket."""
LOOPBACK_STARTS = ("127.", "[")
"""The same for IPv4 loopback addresses."""
NUMBER = re.compile("0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*", re.ASCII)
LONGEST = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]")
"""The longest text that is parsed as an address. So the caches hold no long text from messages."""
CACHED = 256
"""Addresses that each cache holds; an address takes half a kilobyte."""


def literal(host: str) -> Optional[IPAddress]:
    """The address that ``host`` spells, with or without the brackets of IPv6; ``None`` for a name or nonsense.

    An IPv4-mapped IPv6 address (``::ffff:192.0.2.1``) gives the IPv4 address. Text with a zone (``fe80::1%eth0``) gives
    ``None``: SIP and SDP have no zones, and ``ipaddress`` accepts any text after the ``%``.
    """
    return None if len(host) > LONGEST else _literal(host)


@lru_cache(maxsize=CACHED)
def _literal(host: str) -> Optional[IPAddress]:
    """``literal`` with a cache: the same few addresses come again and again, and parsing is slow."""
    if "%" in host:
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class _Kind(NamedTuple):
    """What a literal address is, and its usual spelling; for a host name all is false and empty."""

    text: str = ""
    private: bool = False
    behind_carrier: bool = False
    loopback: bool = False
    unspecified: bool = False
    unicast: bool = False


NO_LITERAL = _Kind()


@lru_cache(maxsize=CACHED)
def _kind(host: str) -> _Kind:
    """The kind of ``host``, which has at most ``LONGEST`` characters."""
    address = _literal(host)
    if address is None:
        return NO_LITERAL
    one_host = not (address.is_unspecified or address.is_multicast)
    if isinstance(address, ipaddress.IPv4Address):
        # 0.0.0.0/8 is "this network"; 240.0.0.0/4 is reserved and includes the broadcast address
        one_host = one_host and not (address.is_reserved or address.packed[0] == 0)
    return _Kind(
        text=str(address),
        private=any(address in network for network in PRIVATE),
        behind_carrier=any(address in network for network in BEHIND_CARRIERS),
        loopback=address.is_loopback,
        unspecified=address.is_unspecified,
        unicast=one_host,
    )


def usual_text(host: str) -> str:
    """The usual spelling of the literal address ``host``, without brackets; empty for a name or nonsense."""
    return _kind(host).text if len(host) <= LONGEST else ""


def is_private(host: str) -> bool:
    """Whether ``host`` is the literal of a private, loopback or link-local address.

    For most public addresses the first octet decides, without the cache: a flood has more addresses than the cache.
    """
    if ":" not in host and not host.startswith(PRIVATE_STARTS):
        return False
    return len(host) <= LONGEST and _kind(host).private


def is_behind_carrier(host: str) -> bool:
    """Whether ``host`` is the literal of an address that a provider's NAT translates."""
    return len(host) <= LONGEST and _kind(host).behind_carrier


def is_public(host: str) -> bool:
    """Whether ``host`` is the literal of one host on the internet, outside of the ``INWARD`` networks.

    An IPv6 address that holds an IPv4 address is public only if the IPv4 address is public as well.
    """
    return len(host) <= LONGEST and _is_public(host)


@lru_cache(maxsize=CACHED)
def _is_public(host: str) -> bool:
    return all(is_unicast(each) and not within(each, INWARD) for each in meanings(host))


def meanings(host: str) -> tuple[str, ...]:
    """``host``, and the IPv4 addresses in it to which a translator or a tunnel on the way would send a packet.

    They are in addresses of NAT64, 6to4, Teredo and ISATAP, and in IPv4-translated and IPv4-compatible addresses. They
    are not found in addresses of a NAT64 prefix that a network has chosen itself (RFC 6052 §2.2): no other network
    knows such a prefix.
    """
    address = literal(host) if ":" in host else None
    if not isinstance(address, ipaddress.IPv6Address):
        return (host,)
    found: list[ipaddress.IPv4Address] = []
    number = int(address)
    if (address in IPV4_COMPATIBLE and number > 1) or address in IPV4_TRANSLATED or address in NAT64:
        found.append(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if (number >> 32) & 0xFFFFFFFF & ~GLOBAL_BIT == ISATAP:
        found.append(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return (host, *map(str, found))


def lenient_literal(text: str) -> str:
    """The address that ``text`` means to a program that is not strict; empty where it means none.

    The C library reads 0x7f000001, 0177.0.0.1, 127.1 and 2130706433 as 127.0.0.1. It accepts a zone behind an IPv6
    address.
    """
    if len(text) > 2 * LONGEST:
        return ""
    if "%" in text:
        text = text.strip("[]").partition("%")[0]
    address = literal(text)
    return _from_numbers(text) if address is None else str(address)


def _from_numbers(text: str) -> str:
    """The IPv4 address of one to four numbers, decimal, octal or hexadecimal; the last one fills the octets left."""
    parts = text.split(".")
    if len(parts) > 4 or not all(map(NUMBER.fullmatch, parts)):
        return ""
    *octets, last = (int(part, 16 if part[:2] in ("0x", "0X") else 8 if part[0] == "0" else 10) for part in parts)
    if any(octet > 255 for octet in octets) or last >> 8 * (4 - len(octets)):
        return ""
    return str(ipaddress.IPv4Address(int.from_bytes(bytes(octets), "big") << 8 * (4 - len(octets)) | last))


def source_of(host: str) -> str:
    """The key of ``host`` in tables of sources: the IPv4 address, or the /64 of an IPv6 address.

    One subscriber usually has a whole /64.
    """
    if ":" not in host:
        return host
    address = literal(host)
    return f"{int(address) >> 64:x}::/64" if isinstance(address, ipaddress.IPv6Address) else str(address or host)


def networks(text: str) -> tuple[Network, ...]:
    """The networks in a list such as ``192.0.2.0/24, 2001:db8::/32``. Raises ``ValueError`` for anything else.

    A network of IPv4-mapped addresses is the IPv4 network, as in ``literal``.
    """
    if "%" in text:
        raise ValueError(text)
    return tuple(_network(item.strip()) for item in text.split(",") if item.strip())


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def within(host: str, allowed: tuple[Network, ...]) -> bool:
    """Whether ``host`` is the literal of an address in one of the networks."""
    address = literal(host) if allowed else None
    return address is not None and any(address in network for network in allowed)


def is_unicast(host: str) -> bool:
    """Whether packets to ``host`` reach one host: a literal that is not unspecified, multicast or broadcast."""
    return len(host) <= LONGEST and _kind(host).unicast


def is_loopback(host: str) -> bool:
    """Whether ``host`` is the literal of a loopback address.

    For other IPv4 addresses the first octet decides, as in ``is_private``.
    """
    if ":" not in host and not host.startswith(LOOPBACK_STARTS):
        return False
    return len(host) <= LONGEST and _kind(host).loopback


def out_of_reach(host: str, source: str) -> bool:
    """Whether ``source`` could not send to ``host`` itself, so that the server must not send there on its behalf.

    A source on the internet reaches neither private addresses nor addresses behind a provider's NAT. No other machine
    reaches the loopback address of this machine.
    """
    if host == source:
        return False
    if is_behind_carrier(host):
        return not (is_private(source) or is_behind_carrier(source))
    return is_private(host) and (not is_private(source) or (is_loopback(host) and not is_loopback(source)))


def is_unspecified(host: str) -> bool:
    """Whether ``host`` is ``0.0.0.0`` or ``::``, the "hold" of RFC 2543."""
    return len(host) <= LONGEST and _kind(host).unspecified


def same_family(one: str, other: str) -> bool:
    """Whether two literals, without brackets, are both IPv4 or both IPv6."""
    return (":" in one) == (":" in other)
