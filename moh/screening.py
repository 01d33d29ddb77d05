"""The checks of RFC 3261 §8.2 that need nothing but the request itself, in that section's order.

What we understand is listed here and nowhere else: methods, extensions, bodies.
"""

from __future__ import annotations

from .errors import Refusal
from .headers import Uri
from .message import Request

METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS")
EXTENSIONS = ("100rel",)
"""Option tags that we understand. Reliable provisionals are kept trivially: to who requires them we send none."""
SDP = "application/sdp"

ALLOW = ("Allow", ", ".join(METHODS))
ACCEPT = ("Accept", SDP)
SUPPORTED = ("Supported", ", ".join(EXTENSIONS))


def screen(request: Request) -> None:
    """Raises ``Refusal`` for a request that we cannot follow, whoever sent it: 405, 416, 420, 415 or 406.

    A body that may be ignored is taken out of the request.
    """
    if request.method not in METHODS:
        raise Refusal(405, f"Method {request.method[:20]} is not for a music server", ALLOW)
    if request.method == "CANCEL":
        return  # it goes where its INVITE went and has nothing to refuse (§9.2)
    if Uri.parse(request.uri).scheme != "sip":
        raise Refusal(416, f"Request-URI is {request.uri[:60]!r}; expected a sip: URI")
    if unknown := request.option_tags("require") - set(EXTENSIONS):
        names = ", ".join(sorted(unknown))
        raise Refusal(420, f"Extension is {names[:60]!r}; understood: {', '.join(EXTENSIONS)}", ("Unsupported", names))
    _check_body(request)
    if request.method == "INVITE":
        _check_accept(request)


def _check_body(request: Request) -> None:
    """Raises ``Refusal`` 415 for a body that is no plain session description and may not be ignored (§8.2.3)."""
    if not request.body.strip():
        return
    kind = _media_type(request.first("content-type") or "")
    disposition = (request.first("content-disposition") or "").replace(" ", "").lower()
    if kind == SDP:
        encoding = (request.first("content-encoding") or "identity").strip().lower()
        if encoding != "identity":
            wanted = ("Accept-Encoding", "identity")
            raise Refusal(415, f"Content-Encoding is {encoding[:40]!r}; expected none", wanted)
    elif "handling=optional" in disposition or request.method == "BYE":
        request.body = b""
    else:
        raise Refusal(415, f"Content-Type is {kind[:40]!r}; expected {SDP}", ACCEPT)


def _check_accept(request: Request) -> None:
    """Raises ``Refusal`` 406 where the answer could not be the session description it has to be (RFC 4475 §3.3.15)."""
    if not request.all("accept"):
        return
    ranges = [_media_type(item) for item in request.listed("accept")]
    if not {SDP, "application/*", "*/*"}.intersection(ranges):
        raise Refusal(406, f"Accept is {', '.join(ranges)[:60]!r}; expected {SDP} in it", ACCEPT)


def reliable(request: Request) -> bool:
    """Whether the caller takes provisional responses only reliably (RFC 3262 §3)."""
    return "100rel" in request.option_tags("require")


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()
