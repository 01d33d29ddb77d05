"""Fetches what radios send: a small HTTP client with limits on all that a server might send without end.

It differs from the client of the standard library in three things: each connection is checked (``destinations``), it
reads the "ICY 200 OK" of Shoutcast, and neither a head, nor redirects, nor silence take more than they are given.
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import quote, unquote, urljoin, urlsplit

from ..common.addresses import Network
from .destinations import SourceFailed, connect

MOST_HEAD = 16384
"""Octets of the head of an answer."""
HEAD_TIMEOUT = 15.0
"""Seconds until the head of an answer has come."""
STALL = 6.0
"""Seconds without an octet after which a connection counts as dead. The lead of the ring is longer."""
MOST_REDIRECTS = 8
"""Redirects that are followed in a row."""
PART = 16384
"""Octets that are read at once."""
LONGEST_ADDRESS = 2048
"""Characters of an address that are taken."""
LONGEST_CHUNK_LINE = 256
"""Octets of the line in front of a chunk."""
REDIRECTS = (301, 302, 303, 307, 308)
AGENT = "music-on-hold"
UNSAFE = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True)
class Target:
    """An address of a radio, taken apart."""

    url: str
    """The address without user, password and fragment: it may be shown."""
    secure: bool
    host: str
    port: int
    path: str
    credentials: str = field(default="", repr=False)


def target_of(address: str) -> Target:
    """Take ``address`` apart. Raises ``SourceFailed`` for what is no address of HTTP or HTTPS."""
    nonsense = SourceFailed(f"{shown(address)!r} is no address; expected http://HOST/PATH")
    if len(address) > LONGEST_ADDRESS or UNSAFE.search(address):
        raise nonsense
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if "@" in parts.netloc else ""
    except ValueError:  # or that of a text which has no octets
        raise nonsense from None
    if not host.isprintable():
        raise nonsense
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise SourceFailed(f"{shown(address)!r} is no address of HTTP; expected http:// or https:// at its beginning")
    if not host or port == 0:
        raise SourceFailed(f"{shown(address)!r} names no host; expected http://HOST/PATH")
    path += f"?{query}" if query else ""
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    secure = scheme == "https"
    return Target(f"{scheme}://{place}{path}", secure, host, port or (443 if secure else 80), path, login)


class Answer:
    """The answer to a request, whose head has come. ``read`` yields its body."""

    def __init__(self, target: Target, connection: socket.socket, give_up: float) -> None:
        self.url = target.url
        self._connection, self._give_up = connection, give_up
        self._kept = b""
        self._ended = False
        lines = self._read_head().split("\n")
        found = re.match(r"(?:HTTP/\d\.\d|ICY) (\d\d\d)(?: (.*))?$", lines[0].rstrip())
        if not found:
            raise SourceFailed(f"the address answers {printable(lines[0])[:60]!r}; expected HTTP")
        self.status, self.reason = int(found[1]), printable(found[2] or "")[:60]
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.headers.setdefault(name.strip().lower(), value.strip())
        self._is_chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._left: Optional[int] = 0 if self._is_chunked else _number(self.headers.get("content-length", ""))
        self._first_chunk = True

    @property
    def kind(self) -> str:
        """The content type, in lower case and without parameters; empty where it is missing."""
        return printable(self.headers.get("content-type", "").partition(";")[0].strip().lower())[:80]

    def read(self) -> bytes:
        """The next octets of the body; empty at its end. Raises ``SourceFailed``."""
        if self._is_chunked and not self._left and not self._begin_chunk():
            return b""
        if self._left == 0:
            return b""
        octets = self._receive(PART if self._left is None else min(PART, self._left))
        if self._left is not None:
            self._left -= len(octets)
        return octets

    def read_all(self, most: int) -> bytes:
        """The whole body. Raises ``SourceFailed`` if it has more than ``most`` octets, or does not end in time."""
        body = bytearray()
        give_up = time.monotonic() + HEAD_TIMEOUT
        while octets := self.read():
            body += octets
            if len(body) > most:
                raise SourceFailed(f"a list at {self.url} has more than {most} octets")
            if time.monotonic() > give_up:
                raise SourceFailed(f"a list at {self.url} does not end within {HEAD_TIMEOUT:.0f} s")
        return bytes(body)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def abort(self) -> None:
        """End the connection. Any thread may call this; a ``read`` of another thread ends."""
        try:  # ``SSLSocket.shutdown`` would forget the TLS: what is in the kernel would be read as it is, encrypted
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def _read_head(self) -> str:
        while (end := re.search(rb"\r?\n\r?\n", self._kept)) is None:
            if len(self._kept) > MOST_HEAD:
                raise SourceFailed(f"the head of the answer has more than {MOST_HEAD} octets")
            left = self._give_up - time.monotonic()
            octets = self._receive_now(PART, left) if left > 0 else None
            if octets is None:
                raise SourceFailed(f"no answer came within {HEAD_TIMEOUT:.0f} s")
            if not octets:
                raise SourceFailed("the connection was closed before an answer came")
            self._kept += octets
        head, self._kept = self._kept[: end.start()], self._kept[end.end() :]
        if len(head) > MOST_HEAD:
            raise SourceFailed(f"the head of the answer has more than {MOST_HEAD} octets")
        return head.decode("latin-1")

    def _begin_chunk(self) -> bool:
        """Read the line in front of a chunk. Return whether there is one."""
        if self._ended:
            return False
        line = b""
        for _ in range(LONGEST_CHUNK_LINE):
            octet = self._receive(1)
            if not octet:
                break
            if octet == b"\n" and (line or self._first_chunk):
                break
            line += octet.strip()
        size = re.match(rb"[0-9a-fA-F]{1,8}", line)
        self._first_chunk = False
        if not size:
            raise SourceFailed("the answer is cut into chunks that cannot be read")
        self._left = int(size[0], 16)
        self._ended = not self._left
        return not self._ended

    def _receive(self, most: int) -> bytes:
        if not self._kept:
            octets = self._receive_now(PART, STALL)
            if octets is None:
                raise SourceFailed(f"it has sent nothing for {STALL:.0f} s")
            self._kept = octets
        octets, self._kept = self._kept[:most], self._kept[most:]
        return octets

    def _receive_now(self, most: int, seconds: float) -> Optional[bytes]:
        """Octets; empty at the end of the connection, ``None`` after ``seconds`` without any."""
        try:
            self._connection.settimeout(seconds)
            return self._connection.recv(most)
        except (socket.timeout, ssl.SSLWantReadError):
            return None
        except ssl.SSLEOFError:
            return b""
        except OSError as error:
            raise SourceFailed(f"the connection failed: {error.strerror or error}") from None


class HttpClient:
    """Opens addresses. ``allowed`` are networks that radios may come from beside the internet."""

    def __init__(self, allowed: tuple[Network, ...]) -> None:
        self._allowed = allowed
        self._tls: Optional[ssl.SSLContext] = None

    def open(self, address: str, more: Optional[dict[str, str]] = None) -> Answer:
        """Request ``address``, and follow redirects. ``more`` are further fields of the head. Raises ``SourceFailed``.

        The answer is one with music or a list: any other status is an error.
        """
        visited: list[str] = []
        while True:
            target = target_of(address)
            if target.url in visited:
                raise SourceFailed(f"the address redirects in a circle, by {target.url}")
            visited.append(target.url)
            answer = self._request(target, more or {})
            if answer.status in REDIRECTS and (where := answer.headers.get("location", "")):
                answer.close()
                if len(visited) > MOST_REDIRECTS:
                    raise SourceFailed(f"the address redirects more than {MOST_REDIRECTS} times")
                address = _joined(target.url, where)
                continue
            if answer.status not in (200, 206):
                answer.close()
                raise SourceFailed(f"the address answers {answer.status} {answer.reason}".rstrip())
            if (coding := answer.headers.get("content-encoding", "identity").lower()) not in ("", "identity"):
                answer.close()
                raise SourceFailed(f"the answer is compressed ({printable(coding)[:40]}); expected music as it is")
            return answer

    def _request(self, target: Target, more: dict[str, str]) -> Answer:
        connection = connect(target.host, target.port, self._allowed)
        try:
            give_up = time.monotonic() + HEAD_TIMEOUT
            connection.settimeout(HEAD_TIMEOUT)
            if target.secure:
                connection = self._secured(connection, target.host)
            name = f"[{target.host}]" if ":" in target.host else _ascii(target.host)
            usual = target.port == (443 if target.secure else 80)
            fields = {
                "Host": name if usual else f"{name}:{target.port}", "User-Agent": AGENT, "Accept": "*/*",
                "Accept-Encoding": "identity", "Connection": "close", **more,
            }  # fmt: skip
            if target.credentials:
                fields["Authorization"] = "Basic " + base64.b64encode(target.credentials.encode()).decode()
            lines = [f"GET {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
            connection.sendall("\r\n".join(lines).encode("ascii"))
            return Answer(target, connection, give_up)
        except SourceFailed:
            connection.close()
            raise
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise SourceFailed(f"the certificate of {target.host} is not trusted: {error.verify_message}") from None
        except ssl.SSLError as error:
            connection.close()
            raise SourceFailed(f"no TLS with {target.host}: {error.reason or error}") from None
        except socket.timeout:
            connection.close()
            raise SourceFailed(f"no answer came within {HEAD_TIMEOUT:.0f} s") from None
        except OSError as error:
            connection.close()
            raise SourceFailed(f"the connection failed: {error.strerror or error}") from None

    def _secured(self, connection: socket.socket, host: str) -> socket.socket:
        """TLS, with the certificates that this machine trusts; ``SSL_CERT_FILE`` names others, as for OpenSSL."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls.wrap_socket(connection, server_hostname=host)


def _joined(base: str, where: str) -> str:
    try:
        return urljoin(base, UNSAFE.sub("", where[:LONGEST_ADDRESS]))
    except ValueError:
        raise SourceFailed(f"the address redirects to {printable(where)[:80]!r}; expected an address") from None


def _number(text: str) -> Optional[int]:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise SourceFailed(f"no such host: {host!r}") from None


def shown(address: str) -> str:
    """An address as it may be shown: without a password, and without control characters."""
    return re.sub(r"(//)[^/?#]*@", r"\1", printable(address))[:200]


def printable(text: str) -> str:
    """``text`` without control characters."""
    return "".join(each if each.isprintable() else " " for each in text)
