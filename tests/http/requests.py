"""Requests to the application without a web server: the environment of WSGI, and what comes back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO

from moh.http.application import Application
from tests.support.browser import Got


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


def ask(application: Application, path: str = "/", method: str = "GET", **fields: str) -> Got:
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
    return Got(int(status[:3]), named, body[:length])
