"""Which requests the page answers at all, and the header fields with which it protects what it shows.

The page has no password, so it must not lend its place in the network to others. These are kept out:

- other web sites that the owner's browser has open: they may link to the page, and neither read nor embed any of it
  (Origin and Sec-Fetch-Site, CORP, frame-ancestors)
- DNS rebinding: a name of another site that leads to this machine. The browser sends that name as Host, so the page
  answers to IP addresses and ``localhost`` alone
- all methods but GET and HEAD: the page changes nothing
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Optional

from ..common.addresses import literal
from .answers import Answer, text

METHODS = ("GET", "HEAD")
HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::\d{1,5})?")
"""The Host field (RFC 9110 §7.2): a name or an address, and perhaps a port."""
OWN_SITE = ("same-origin", "none")
"""Values of Sec-Fetch-Site: the page itself asks, or the owner typed the address or chose a bookmark."""
SHOWN = 80
"""Characters of a foreign name that an answer repeats."""
HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)
"""Header fields of all answers."""


def refusal(environ: Mapping[str, str]) -> Optional[Answer]:
    """The answer to a request that may not pass; ``None`` for one that may. ``environ`` is that of WSGI."""
    method, host = environ["REQUEST_METHOD"], environ.get("HTTP_HOST", "")
    if not method:
        return text(400, "this is no request of HTTP")
    if method not in METHODS:
        return text(405, "this page shows, and changes nothing; expected GET or HEAD", ("Allow", ", ".join(METHODS)))
    if not host:
        return text(400, "the request has no Host; expected the address of this machine in it")
    if not is_own_host(host):
        return text(421, f"Host is {host[:SHOWN]!r}; expected the IP address of this machine, or localhost")
    origin = environ.get("HTTP_ORIGIN", "").lower()
    if origin and origin not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return text(403, f"the request comes from {origin[:SHOWN]!r}; this page answers its own requests only")
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in OWN_SITE and not _opens_the_page(environ):
        return text(403, "the request comes from another site; that may link to /, and to nothing else here")
    return None


def is_own_host(field: str) -> bool:
    """Whether the Host ``field`` names an IP address or ``localhost``."""
    found = HOST.fullmatch(field)
    return found is not None and (found[1].lower() == "localhost" or literal(found[1]) is not None)


def _opens_the_page(environ: Mapping[str, str]) -> bool:
    """Whether a browser follows a link to the page itself, in a window of its own."""
    opens = (environ.get("HTTP_SEC_FETCH_MODE"), environ.get("HTTP_SEC_FETCH_DEST")) == ("navigate", "document")
    return opens and environ.get("PATH_INFO") == "/"
