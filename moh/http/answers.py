"""What the page answers to a request: status, type, body and header fields, as plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple, Optional, Union

STATUSES = {
    200: "200 OK", 206: "206 Partial Content", 304: "304 Not Modified", 400: "400 Bad Request", 403: "403 Forbidden",
    404: "404 Not Found", 405: "405 Method Not Allowed", 416: "416 Range Not Satisfiable",
    421: "421 Misdirected Request", 500: "500 Internal Server Error", 503: "503 Service Unavailable",
}  # fmt: skip
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
NO_STORE = ("Cache-Control", "no-store")
"""For data: it is old a second later."""
NO_CACHE = ("Cache-Control", "no-cache")
"""For files: a browser may keep them, and asks each time whether they have changed."""
RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")
"""A Range of one part (RFC 9110 §14.1.2). Others, of several parts too, get the whole file."""

Headers = tuple[tuple[str, str], ...]


class FilePart(NamedTuple):
    """``length`` octets of ``file``, from its present position on. The reader closes the file."""

    file: BinaryIO
    length: int


class Answer(NamedTuple):
    """An answer (RFC 9110 §15). The gate adds the header fields that all answers have."""

    status: int
    kind: str
    """The Content-Type."""
    body: Union[bytes, FilePart]
    headers: Headers = (NO_STORE,)

    @property
    def length(self) -> int:
        """The Content-Length."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length


def text(status: int, line: str, *headers: tuple[str, str]) -> Answer:
    """One line for people."""
    return Answer(status, TEXT, f"{line}\n".encode("utf-8", "backslashreplace"), (NO_STORE, *headers))


def data(status: int, value: Mapping[str, object], *headers: tuple[str, str]) -> Answer:
    """A JSON object."""
    return Answer(status, JSON, json.dumps(value, allow_nan=False).encode(), (NO_STORE, *headers))


def wanted_part(field: str, size: int) -> Optional[tuple[int, int]]:
    """First octet and length of the part that the Range ``field`` asks of a file of ``size`` octets.

    ``None`` for the whole file. A part with the length 0 does not exist in the file.
    """
    found = RANGE.fullmatch(field.strip())
    if not found or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        return size - length, length
    end = min(int(last) + 1 if last else size, size)
    if last and int(last) < int(first):
        return None  # it is no range
    return int(first), max(0, end - int(first))
