"""The checks of RFC 3261 §8.2 that need only the request itself, in the order of that section.

Only this module lists the methods, extensions and bodies that the server understands.
"""

from __future__ import annotations

from typing import Optional

from ..common.errors import Refusal
from .headers import read_params, split
from .message import Request

METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE", "INFO")
EXTENSIONS = ("100rel", "timer")
"""Option tags that the server understands. Where 100rel is required, the server sends no provisional answer."""
SDP = "application/sdp"
BODY_IGNORED = ("BYE", "INFO")
"""Methods whose body is ignored, whatever its type."""
MAX_UNSUPPORTED = 512
"""Most characters of Unsupported: they are in an answer that may be kept."""
MAX_PARTS = 32
"""Most parts of a multipart body that are read."""

ALLOW = ("Allow", ", ".join(METHODS))
ACCEPT = ("Accept", SDP)
SUPPORTED = ("Supported", ", ".join(EXTENSIONS))


def check_request(request: Request, secure: bool = False) -> None:
    """Raises ``Refusal`` 405, 416, 420, 415 or 406 for a request that the server does not understand.

    ``secure`` says that the request came by TLS. A body that may be ignored is removed from ``request``, and a
    multipart body is replaced by the session description in it.
    """
    if request.method not in METHODS:
        raise Refusal(405, f"Method {request.method[:20]} is not for a music server", ALLOW)
    if request.method == "CANCEL":
        return  # a CANCEL repeats the Request-URI of its INVITE, and may not have Require (§9.1)
    if request.method in ("BYE", "ACK"):  # a BYE ends the call whatever it requires; an ACK has no answer
        _check_body(request)
        return
    if request.parsed_uri.scheme not in (("sip", "sips") if secure else ("sip",)):
        raise Refusal(416, f"Request-URI is {request.uri[:60]!r}; expected a sip: URI")
    _check_require(request)
    _check_body(request)
    if request.method == "INVITE":
        _check_accept(request)


def _check_require(request: Request) -> None:
    """Raises ``Refusal`` 420 for an unknown extension, and 400 if Require cannot be read (§8.2.2.3).

    Names are compared without regard to case. Unsupported repeats them as they were written, up to ``MAX_UNSUPPORTED``.
    """
    if not request.all("require"):
        return
    for value in request.all("require"):
        split(value, ",")  # raises where it cannot be read
    unknown = sorted({name for name in request.readable("require") if name.lower() not in EXTENSIONS})
    if unknown:
        names = ", ".join(unknown)
        understood = ", ".join(EXTENSIONS)
        listed = names if len(names) <= MAX_UNSUPPORTED else names[:MAX_UNSUPPORTED].rpartition(",")[0]
        headers = [("Unsupported", listed)] if listed else []
        raise Refusal(420, f"Extension is {names[:60]!r}; understood: {understood}", *headers)


def _check_body(request: Request) -> None:
    """Raises ``Refusal`` 415 for a body that is no session description and may not be ignored (§8.2.3)."""
    if not request.body.strip():
        return
    if request.method in BODY_IGNORED:
        request.body = b""
        return
    content_type = request.first("content-type") or ""
    kind = SDP if content_type == SDP else _media_type(content_type)
    if not kind and request.body.lstrip().startswith(b"v=0"):  # some phones leave Content-Type out
        kind = SDP
    if kind.startswith("multipart/") and (part := _session_part(request)) is not None:
        request.body = part
        return
    if kind == SDP:
        encoding = (request.first("content-encoding") or "identity").strip().lower()
        if encoding != "identity":
            wanted = ("Accept-Encoding", "identity")
            raise Refusal(415, f"Content-Encoding is {encoding[:40]!r}; expected none", wanted)
    elif "handling=optional" in "".join((request.first("content-disposition") or "").split()).lower():
        request.body = b""
    else:
        raise Refusal(415, f"Content-Type is {kind[:40]!r}; expected {SDP}", ACCEPT)


def _session_part(request: Request) -> Optional[bytes]:
    """The first session description in a multipart body (RFC 5621 §3.1, RFC 2046 §5.1); ``None`` where there is none.

    A multipart inside a multipart is not opened, because the nesting has no limit and each level costs time.
    """
    params = read_params(split(request.first("content-type") or "", ";")[1:])
    boundary = params.get("boundary", "").strip('"')
    if not boundary:
        return None
    body = b"".join((b"\n", request.body.replace(b"\r\n", b"\n")))
    for part in body.split(f"\n--{boundary}".encode("utf-8", "surrogateescape"), MAX_PARTS)[1:]:
        head, _, content = part.partition(b"\n\n")
        lines = head.decode("utf-8", "surrogateescape").split("\n")
        fields = {name.strip().lower(): value for name, _, value in (line.partition(":") for line in lines)}
        encoded = fields.get("content-transfer-encoding", "binary").strip().lower() in ("base64", "quoted-printable")
        if _media_type(fields.get("content-type", "")) == SDP and not encoded:
            return content
    return None


def _check_accept(request: Request) -> None:
    """Raises ``Refusal`` 406 where Accept excludes session descriptions (RFC 4475 §3.3.15)."""
    values = request.all("accept")
    if values == [SDP] or not any(map(_is_readable, values)):
        return
    ranges = [_media_type(item) for item in request.readable("accept")]
    if not {SDP, "application/*", "*/*"}.intersection(ranges):
        raise Refusal(406, f"Accept is {', '.join(ranges)[:60]!r}; expected {SDP} in it", ACCEPT)


def requires_100rel(request: Request) -> bool:
    """Whether the caller accepts provisional responses only if they are reliable (RFC 3262 §3)."""
    return "100rel" in request.option_tags("require")


def _is_readable(value: str) -> bool:
    try:
        split(value, ",")
    except Refusal:
        return False
    return True


def _media_type(text: str) -> str:
    """The type in ``text``, in lower case. White space before and after the slash is allowed (§25.1)."""
    kind, slash, subtype = text.partition(";")[0].lower().partition("/")
    return f"{kind.strip()}{slash}{subtype.strip()}"
