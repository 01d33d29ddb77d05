"""What rtpengine is told to do: its ``ng`` protocol, which is bencoded dictionaries in datagrams."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Union

from bench.common.phone import Server, offer

Value = Union[int, str, Sequence["Value"], Mapping[str, "Value"]]
"""What can be bencoded; strings are UTF-8."""
FOR_EVER = 1000
"""How often the file is played from its beginning again."""
NOWHERE = 9
"""The port (discard) that the silent side of each call hears at."""


def encode(value: Value) -> bytes:
    """``value``, bencoded; the keys of a dictionary in their order."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        octets = value.encode()
        return b"%d:%s" % (len(octets), octets)
    if isinstance(value, Mapping):
        return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"
    return b"l" + b"".join(map(encode, value)) + b"e"


def decode(octets: bytes) -> Value:
    """What was bencoded. Raises ``ValueError`` where that is not one whole value."""
    value, end = _read(octets, 0)
    if end != len(octets):
        raise ValueError(f"{octets[end:]!r} behind a bencoded value; expected nothing")
    return value


def _read(octets: bytes, at: int) -> tuple[Value, int]:
    """The value that begins there, and where it ends."""
    kind = octets[at : at + 1]
    if kind == b"i":
        end = octets.index(b"e", at)
        return int(octets[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items = []
        at += 1
        while octets[at : at + 1] != b"e":
            item, at = _read(octets, at)
            items.append(item)
        return items if kind == b"l" else {str(key): item for key, item in zip(items[::2], items[1::2])}, at + 1
    begin = octets.index(b":", at) + 1
    end = begin + int(octets[at : begin - 1])
    if not begin <= end <= len(octets):
        raise ValueError(f"a string ends at {end} of {len(octets)} octets")
    return octets[begin:end].decode("utf-8", "replace"), end


class Control:
    """Somebody at ``host`` who has the rtpengine at ``server`` play ``file`` to callers."""

    def __init__(self, host: str, server: Server, file: str) -> None:
        self._host, self._server, self._file = host, server, file
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))

    def there(self, seconds: float) -> bool:
        """Whether it answers within ``seconds``."""
        return self._ask({"command": "ping"}, seconds) == "pong"

    def call(self, host: str, port: int, seconds: float) -> str:
        """Offer, answer and "play media", for music to ``host`` and ``port``; what it complains of, "" if it plays.

        "no answer" where one of the three has none within ``seconds``.
        """
        call = {"call-id": secrets.token_hex(8), "from-tag": "caller"}
        listens = offer(self._host, host, port)
        plays = offer(self._host, self._host, NOWHERE, "sendonly")
        requests: tuple[Mapping[str, Value], ...] = (
            {"command": "offer", "sdp": listens, **call},
            {"command": "answer", "sdp": plays, "to-tag": "music", **call},
            {"command": "play media", "file": self._file, "repeat-times": FOR_EVER, **call},
        )
        for request in requests:
            said = self._ask(request, seconds)
            if said != "ok":
                return f"{request['command']}: {said or 'no answer'}"
        return ""

    def _ask(self, request: Mapping[str, Value], seconds: float) -> str:
        """Its result, or what it complains of; empty where no answer comes in time."""
        cookie = secrets.token_hex(8).encode()
        self._socket.sendto(cookie + b" " + encode(request), self._server)
        give_up = time.monotonic() + seconds
        while (left := give_up - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                token, _, answer = self._socket.recv(65535).partition(b" ")
            except OSError:
                break
            if token == cookie:
                found = decode(answer)
                return str(found.get("error-reason") or found.get("result")) if isinstance(found, Mapping) else ""
        return ""
