"""The files of the page itself, read once at the start: a request names one of them, and never a path."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from .answers import NO_CACHE, TEXT, Answer, text

FOLDER = Path(__file__).parent / "static"
KINDS = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".txt": TEXT,
}  # fmt: skip
PAGE = "page.html"


class StaticFile(NamedTuple):
    """One file."""

    kind: str
    body: bytes
    tag: str


class StaticFiles:
    """All files of ``folder`` whose kind is known."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files: dict[str, StaticFile] = {}
        for path in sorted(folder.glob("*")):
            if path.suffix in KINDS and path.is_file():
                body = path.read_bytes()
                tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
                self._files[path.name] = StaticFile(KINDS[path.suffix], body, tag)

    def answer(self, name: str, known: str) -> Answer:
        """The file ``name``. ``known`` is the If-None-Match field: the tags that the browser has."""
        found = self._files.get(name)
        if found is None:
            return text(404, "there is no such file; the page is at /")
        headers = (NO_CACHE, ("ETag", found.tag))
        if found.tag in known:
            return Answer(304, found.kind, b"", headers)
        return Answer(200, found.kind, found.body, headers)
