"""SIP messages of the callers, as text. The module uses nothing of ``moh``, since the measurements test its parser."""

from __future__ import annotations

import re
import secrets

HostPort = tuple[str, int]
"""A host as text, and a port."""


def offer(listener: HostPort, speaker: str, formats: str = "0", direction: str = "recvonly", version: int = 1) -> str:
    """Return a session description that asks for music at ``listener``, with ``speaker`` and ``version`` in ``o=``."""
    host, port = listener
    lines = ["v=0", f"o=- 1 {version} IN IP4 {speaker}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP {formats}", f"a={direction}"]
    lines += ["a=rtpmap:96 opus/48000/2"] if "96" in formats else []
    return "\r\n".join(lines) + "\r\n"


def request_lines(
    method: str, uri: str, *, via: str, from_: str, to: str, call_id: str, cseq: int, contact: str
) -> list[str]:
    """Return the request line and the header fields that each request has. The arguments are their values."""
    return [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/{via}",
        "Max-Forwards: 70",
        f"From: {from_}",
        f"To: {to}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        f"Contact: <{contact}>",
    ]


def written(lines: list[str], body: str = "") -> bytes:
    """Return a message of ``lines`` and ``body``. A body that is not empty is a session description."""
    kind = ["Content-Type: application/sdp"] if body else []
    return ("\r\n".join([*lines, *kind, f"Content-Length: {len(body)}"]) + "\r\n\r\n" + body).encode()


class Dialog:
    """The caller's side of one dialog with ``server``, from the socket at ``local``. It writes the requests."""

    def __init__(self, server: HostPort, local: HostPort, transport: str = "UDP", user: str = "bench") -> None:
        self._uri = f"sip:123@{server[0]}:{server[1]}"
        self._local = f"{local[0]}:{local[1]}"
        self._host, self._transport, self._user = local[0], transport, user
        self.call_id = secrets.token_hex(8)
        self._tag = secrets.token_hex(4)
        self._to_tag = ""

    def learn_tag(self, answer: str) -> None:
        """Read the server's tag from its answer, and keep it for later requests."""
        tag = re.search(r"^To:[^\r]*;\s*tag=([^\s;]+)", answer, re.MULTILINE | re.IGNORECASE)
        self._to_tag = f";tag={tag[1]}" if tag else self._to_tag

    def request(self, method: str, cseq: int, *fields: str, body: str = "") -> bytes:
        """Return a new request. It has ``fields`` beside the header fields that each request has."""
        lines = request_lines(
            method, self._uri, via=f"{self._transport} {self._local};rport;branch=z9hG4bK{secrets.token_hex(8)}",
            from_=f"<sip:{self._user}@{self._host}>;tag={self._tag}", to=f"<{self._uri}>{self._to_tag}",
            call_id=self.call_id, cseq=cseq,
            contact=f"sip:{self._user}@{self._local};transport={self._transport.lower()}",
        )  # fmt: skip
        return written([*lines, *fields], body)
