"""Requests to the application without a web server: the environment of WSGI, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

from moh.http.application import Application


class Answered(NamedTuple):
    """What the application answered. The names of header fields are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def environ(path: str = "/", method: str = "GET", **fields: str) -> dict[str, Any]:
    """Return the environment of a request; ``HTTP_ORIGIN="http://..."`` is its Origin field."""
    return {
        "REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": "127.0.0.1:8080", "wsgi.file_wrapper": _read,
        **fields,
    }  # fmt: skip


def _read(file: BinaryIO) -> list[bytes]:
    """What waitress does with a file: it reads from its present position on, as far as Content-Length says."""
    with file:
        return [file.read()]


def ask(application: Application, path: str = "/", method: str = "GET", **fields: str) -> Answered:
    """Have the application answer a request."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    chunks: Iterable[bytes] = application(
        environ(path, method, **fields), lambda status, headers: found.append((status, headers))
    )
    body = b"".join(chunks)
    ((status, headers),) = found
    named = {name.lower(): value for name, value in headers}
    assert len(named) == len(headers), f"a header field is there twice: {headers}"
    length = int(named.get("content-length", "0"))
    return Answered(int(status[:3]), named, body[:length])
