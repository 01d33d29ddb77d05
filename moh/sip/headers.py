"""The parts of header fields: lists, parameters, URIs, Via, CSeq, names with addresses (RFC 3261 §20, §25).

Each parser takes text and returns an immutable value, or raises ``Refusal`` 400 that names the part and shows it. Each
parser reads the text once, and no pattern can backtrack.

From call to call a phone or PBX repeats its URIs, the host in its Via, and lists such as Allow. Three caches keep what
was read of them: each holds at most ``CACHED`` texts, of at most ``MAX_CACHED`` characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, Optional

from ..common.addresses import literal
from ..common.errors import Refusal

TOKEN = re.compile(r"[a-zA-Z0-9\-.!%*_+`'~]+")
NOT_IN_URI = re.compile(r'[\x00-\x20<>"\x7f]')
HOST = re.compile(r"[a-zA-Z0-9\-._]+")
SPECIAL = {separator: re.compile(rf'[\\"<>{separator}]') for separator in ",;"}
"""The characters at which ``_split_quoted`` stops: a pattern of one character cannot backtrack."""
DISPLAY_NAME = re.compile(r'(?:"[^"\\]*")?[^"\\,;]*')
"""A display name as nearly all phones write it, if any. The pattern cannot backtrack: a quote ends each part of it."""
CACHED = 256
"""Values that each cache holds; with its text a value takes about a kilobyte."""
MAX_CACHED = 256
"""Longest text in a cache, in characters. So no sender can fill the caches with long text."""
NO_PARAMS: Mapping[str, str] = MappingProxyType({})


def is_token(text: str) -> bool:
    """Whether ``text`` is a token of RFC 3261 §25.1: a method, a header field name, an option tag."""
    return TOKEN.fullmatch(text) is not None


def split(text: str, separator: str) -> list[str]:
    """Cut ``text`` at each ``separator``, comma or semicolon, outside of quotes and angle brackets; strip the pieces.

    Raises ``Refusal`` 400 for a quote that is never closed.
    """
    if '"' not in text and ("<" not in text or separator not in text):
        return [piece.strip() for piece in text.split(separator)]
    usual = _split_usual(text, separator)
    if usual is None:
        return _split_quoted(text, separator)
    name, address, behind = usual
    behind[0] = f"{name}<{address}>{behind[0]}"
    return [piece.strip() for piece in behind]


def _split_usual(text: str, separator: str) -> Optional[tuple[str, str, list[str]]]:
    """The display name, the address in angle brackets and the pieces behind them; ``None`` for any unusual form."""
    name, _, rest = text.partition("<")
    address, closed, behind = rest.partition(">")
    if not closed or '"' in rest or "<" in behind or DISPLAY_NAME.fullmatch(name) is None:
        return None
    return name, address, behind.split(separator)


def _split_quoted(text: str, separator: str) -> list[str]:
    """``split`` for any text, with quotes and angle brackets wherever they are."""
    pieces: list[str] = []
    start, quoted, angled, escaped = 0, False, False, -1
    for found in SPECIAL[separator].finditer(text):
        at, char = found.start(), found[0]
        if at == escaped:
            continue
        if quoted:
            if char == "\\":
                escaped = at + 1
            elif char == '"':
                quoted = False
        elif char == '"':
            quoted = True
        elif char == "<":
            angled = True
        elif char == ">":
            angled = False
        elif char == separator and not angled:
            pieces.append(text[start:at].strip())
            start = at + 1
    if quoted:
        raise Refusal(400, f"Unclosed quote in {text[:60]!r}")
    pieces.append(text[start:].strip())
    return pieces


def members(text: str) -> Sequence[str]:
    """The members of a list such as Allow, without empty ones; none if ``text`` cannot be read."""
    return _cached_members(text) if len(text) <= MAX_CACHED else _read_members(text)


def _read_members(text: str) -> Sequence[str]:
    try:
        return tuple(filter(None, (item.removesuffix(";").strip() for item in split(text, ","))))
    except Refusal:
        return ()


_cached_members = lru_cache(CACHED)(_read_members)


def read_params(pieces: list[str]) -> dict[str, str]:
    """Read ``name=value`` pieces: names in lower case, a missing value as ``""``; empty pieces are ignored."""
    params: dict[str, str] = {}
    for piece in pieces:
        name, _, value = piece.partition("=")
        if name := name.strip().lower():
            params.setdefault(name, value.strip())
    return params


def read_host_port(text: str) -> tuple[str, Optional[int]]:
    """Read ``host``, ``host:port`` or ``[IPv6]:port``, spaces round the colon allowed; the host comes without brackets.

    Raises ``Refusal`` 400 for a port outside 1 to 65535 and for what cannot be a host.
    """
    text = text.strip()
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        # the grammar of RFC 3261 permits ":::", which is harmless and kept as it is (RFC 5118 §4.10)
        valid = bool(closed) and (literal(host.replace(":::", "::")) is not None)
        rest = rest.strip()
        port_text = rest[1:].strip() if rest.startswith(":") else rest
        valid = valid and (not rest or rest.startswith(":"))
    else:
        host, colon, port_text = text.partition(":")
        host, port_text = host.strip(), port_text.strip()
        valid = HOST.fullmatch(host) is not None and not (colon and not port_text)
    if not valid:
        raise Refusal(400, f"Host is {text[:60]!r}; expected a name, an IPv4 address or an [IPv6 address]")
    if not port_text:
        return host, None
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and 0 < int(port_text) < 65536):
        raise Refusal(400, f"Port is {port_text[:20]!r}; expected a number from 1 to 65535")
    return host, int(port_text)


class Uri(NamedTuple):
    """A SIP or SIPS URI, or the scheme of any other URI (RFC 3261 §19.1). ``text`` is the URI as it came."""

    text: str
    scheme: str
    user: str = ""
    host: str = ""
    port: Optional[int] = None
    params: Mapping[str, str] = NO_PARAMS

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a URI. Of a URI with another scheme than sip or sips only the scheme is read; its request gets 416."""
        return _cached_uri(text) if len(text) <= MAX_CACHED else _read_uri(text)


def _read_uri(text: str) -> Uri:
    scheme, colon, rest = text.partition(":")
    if not colon or not is_token(scheme) or NOT_IN_URI.search(text) is not None:
        raise Refusal(400, f"URI is {text[:60]!r}; expected 'sip:user@host'")
    scheme = scheme.lower()
    if scheme not in ("sip", "sips"):
        return Uri(text, scheme)
    # the user part may hold ';' and '?', so the host begins behind the last '@'
    user, _, host = rest.rpartition("@")
    hostport, *params = host.partition("?")[0].split(";")
    name, port = read_host_port(hostport)
    return Uri(text, scheme, user, name, port, MappingProxyType(read_params(params)))


_cached_uri = lru_cache(CACHED)(_read_uri)


class NameAddr(NamedTuple):
    """The value of From, To, Contact, Route or Record-Route: a URI with a display name and parameters (§20.10)."""

    text: str
    uri: str
    """The URI; empty if it cannot be read."""
    tag: str = ""
    """The tag of one end of a dialog (§19.3); empty if there is none.

    It is in lower case, because a tag is a token, and tokens have no case (§7.3.1).
    """
    tags: tuple[str, ...] = ()
    """The different values of all tags as they came, without empty values."""
    all_tags: int = 0
    """The number of tags, including empty and equal tags."""

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read ``"Name" <uri>;params`` or ``uri;params``; without angle brackets the parameters are the header's."""
        usual = _split_usual(text, ";")
        _, uri, (rest, *params) = _split_unusual(text) if usual is None else usual
        if rest.strip():
            raise Refusal(400, f"Address is {text[:60]!r}; expected '\"Name\" <uri>'")
        uri = uri.strip()
        if ":" not in uri or NOT_IN_URI.search(uri) is not None:
            raise Refusal(400, f"Address is {text[:60]!r}; it holds no URI")
        return cls(text, uri, *_tags(params))

    @classmethod
    def salvage(cls, text: str) -> NameAddr:
        """Read only the tag of a value that ``parse`` refuses."""
        return cls(text, "", *_tags(_split_anyway(text)[1:]))

    @property
    def without_parameters(self) -> str:
        """The display name and the URI, for the log."""
        return _split_anyway(self.text)[0]

    def tagged(self, tag: str) -> str:
        """The text with ``tag``, or as it came if it has a tag already. The result has one tag, and no empty tag."""
        if self.all_tags == 0:
            return f"{self.text.rstrip('; ')};tag={tag}" if tag else self.text
        if self.all_tags == len(self.tags) == 1:
            return self.text
        head, *params = _split_anyway(self.text)
        kept = [piece for piece in params if piece and _name(piece) != "tag"]
        own = self.tags[0] if self.tags else tag
        return ";".join([head, *kept, *([f"tag={own}"] if own else [])])


def _split_unusual(text: str) -> tuple[str, str, list[str]]:
    """As ``_split_usual`` with semicolons, for any form; without angle brackets the whole address is the URI.

    The first piece has to be empty. It holds what follows the angle brackets, or the bracket that is not closed.
    """
    head, *params = split(text, ";")
    behind_name = head[_closing_quote(head) :] if head.startswith('"') else head
    name, opened, rest = behind_name.partition("<")
    if not opened:
        return "", behind_name, ["", *params]
    address, closed, behind = rest.partition(">")
    return name, address, [behind if closed else opened, *params]


def _name(piece: str) -> str:
    """The name of the parameter ``name=value``, in lower case."""
    return piece.partition("=")[0].strip().lower()


def _tags(params: list[str]) -> tuple[str, tuple[str, ...], int]:
    """``tag``, ``tags`` and ``all_tags`` of a ``NameAddr``, from its parameters called ``tag``, without quotes."""
    values: list[str] = []
    for piece in params:
        name, _, value = piece.partition("=")
        if name.strip().lower() == "tag":
            values.append(value.strip().strip('"'))
    tags = tuple(dict.fromkeys(filter(None, values)))
    return tags[0].lower() if tags else "", tags, len(values)


def _split_anyway(text: str) -> list[str]:
    """``text`` cut at each semicolon outside of quotes; if its quotes do not match, cut at every semicolon."""
    try:
        return split(text, ";")
    except Refusal:
        return [piece.strip() for piece in text.split(";")]


def _closing_quote(text: str) -> int:
    """The position behind the quoted string at the start of ``text``; ``split`` has made sure that it ends."""
    at = text.index('"', 1)
    if "\\" not in text[:at]:
        return at + 1
    at = 1
    while text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at + 1


class Via(NamedTuple):
    """The value of Via: one hop of a request, by which the answer goes back (RFC 3261 §20.42, RFC 3581)."""

    text: str
    transport: str
    host: str
    port: Optional[int]
    params: Mapping[str, str]
    pieces: Sequence[str]
    """The parts between the semicolons, as they came: first transport and host, then the parameters."""

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read ``SIP/2.0/UDP host:port;params``, with spaces allowed round each separator."""
        pieces = split(text, ";")
        head = pieces[0]
        transport, host, port = (_cached_hop if len(head) <= MAX_CACHED else _read_hop)(head)
        return cls(text, transport, host, port, read_params(pieces[1:]), pieces)

    @classmethod
    def salvage(cls, text: str) -> Via:
        """Read only the parameters of a Via that ``parse`` refuses. The result has no transport and no host."""
        pieces = _split_anyway(text)
        return cls(text, "", "", None, read_params(pieces[1:]), pieces)

    @property
    def readable(self) -> bool:
        """Whether ``parse`` could read the Via, so that it has a transport and a host."""
        return bool(self.transport)

    @property
    def branch(self) -> str:
        """The branch if it begins with the magic cookie of RFC 3261 §8.1.1.7; otherwise empty."""
        branch = self.params.get("branch", "")
        return branch if branch[:7].lower() == "z9hg4bk" and len(branch) > 7 else ""

    @property
    def sent_by(self) -> str:
        """Host and port as the sender wrote them, which are part of the transaction's key (§17.2.3)."""
        return f"{self.host.lower()}:{self.port or 5060}"


def _read_hop(text: str) -> tuple[str, str, Optional[int]]:
    """Read ``SIP/2.0/UDP host:port``: the transport in upper case, the host and the port."""
    protocol = [piece.strip() for piece in text.split("/", 2)]
    if len(protocol) != 3 or protocol[0].upper() != "SIP":
        raise Refusal(400, f"Via is {text[:60]!r}; expected 'SIP/2.0/UDP host:port;branch=...'")
    transport, _, sent_by = protocol[2].replace("\t", " ").partition(" ")
    if not is_token(transport):
        raise Refusal(400, f"Via is {text[:60]!r}; expected a transport such as UDP")
    return transport.upper(), *read_host_port(sent_by)


_cached_hop = lru_cache(CACHED)(_read_hop)


class CSeq(NamedTuple):
    """The sequence number of a request in its dialog, and its method (RFC 3261 §20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Read ``<number> <method>``, the number below 2**31 (§8.1.1.5). One semicolon at the end is no fault."""
        parts = text.removesuffix(";").split()
        if len(parts) != 2 or not (parts[0].isascii() and parts[0].isdigit()) or not is_token(parts[1]):
            raise Refusal(400, f"CSeq is {text[:60]!r}; expected '<number> <method>'")
        if len(parts[0]) > 20 or (number := int(parts[0])) >= 2**31:
            raise Refusal(400, f"CSeq is {text[:60]!r}; expected a number below 2147483648")
        return cls(number, parts[1])
