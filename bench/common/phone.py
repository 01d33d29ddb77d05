"""A phone that calls a server by raw messages, one call after another, and lets the music go wherever it is told to."""

from __future__ import annotations

import re
import secrets
import socket
import time

Server = tuple[str, int]
"""The address that a server listens at."""


def offer(speaker: str, host: str, port: int, direction: str = "recvonly") -> str:
    """The SDP of ``speaker``, who wants PCMU at ``host`` and ``port``."""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {speaker}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na={direction}\r\n"
    )


class Phone:
    """It calls ``server`` from one socket at ``host``. Nobody ends its calls but the server."""

    def __init__(self, host: str, server: Server) -> None:
        self._host, self._server = host, server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))

    def there(self, seconds: float) -> bool:
        """Whether the server says within ``seconds`` that it takes calls."""
        return self._ask("OPTIONS", "", seconds).startswith("SIP/2.0 200")

    def call(self, host: str, port: int, seconds: float) -> str:
        """INVITE, 200, ACK, for music to ``host`` and ``port``; what was answered if not 200, "" if it was.

        "no answer" where none comes within ``seconds``.
        """
        answer = self._ask("INVITE", offer(self._host, host, port), seconds) or "no answer"
        return "" if answer.startswith("SIP/2.0 200") else answer.partition("\r")[0]

    def _ask(self, method: str, body: str, seconds: float) -> str:
        """The final answer to a request that begins a dialog, acknowledged; empty where none comes in time."""
        token = secrets.token_hex(8)
        uri = f"sip:123@{self._server[0]}:{self._server[1]}"

        def request(name: str, to_tag: str, content: str) -> bytes:
            host, port = self._socket.getsockname()
            lines = [
                f"{name} {uri} SIP/2.0",
                f"Via: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}",
                "Max-Forwards: 70",
                f"From: <sip:bench@{host}>;tag={token}",
                f"To: <{uri}>{to_tag}",
                f"Call-ID: {token}",
                f"CSeq: 1 {name}",
                f"Contact: <sip:bench@{host}:{port}>",
                *(["Content-Type: application/sdp"] if content else []),
                f"Content-Length: {len(content)}",
            ]
            return ("\r\n".join(lines) + "\r\n\r\n" + content).encode()

        self._socket.sendto(request(method, "", body), self._server)
        give_up = time.monotonic() + seconds
        while (left := give_up - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                answer = self._socket.recv(65535).decode("utf-8", "replace")
            except OSError:
                time.sleep(min(left, 0.02))  # the port is not open yet
                continue
            if token in answer and re.match(r"SIP/2\.0 [2-6]", answer):
                if method == "INVITE":
                    tag = re.search(r"^To:[^\r]*(;tag=[^\s;]+)", answer, re.MULTILINE)
                    self._socket.sendto(request("ACK", tag[1] if tag else "", ""), self._server)
                return answer
        return ""
