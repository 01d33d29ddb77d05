"""A phone that calls a server, one call after another, and has the music sent wherever the caller of it wants."""

from __future__ import annotations

import re
import socket
import time

from bench.common.messages import Dialog, HostPort, offer


class Phone:
    """It calls ``server`` from one socket at ``host``. It never ends a call: the server does."""

    def __init__(self, host: str, server: HostPort) -> None:
        self._host, self._server = host, server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))

    def reaches_server(self, seconds: float) -> bool:
        """Whether the server answers OPTIONS with 200 within ``seconds``."""
        return self._final_answer("OPTIONS", "", seconds).startswith("SIP/2.0 200")

    def call(self, host: str, port: int, seconds: float) -> str:
        """INVITE, 200, ACK, for music at ``host`` and ``port``; empty, or the status line of another answer.

        "no answer" where none comes within ``seconds``.
        """
        answer = self._final_answer("INVITE", offer((host, port), self._host), seconds) or "no answer"
        return "" if answer.startswith("SIP/2.0 200") else answer.partition("\r")[0]

    def _final_answer(self, method: str, body: str, seconds: float) -> str:
        """Send a request outside of a dialog; its final answer, which is acknowledged. Empty where none comes."""
        dialog = Dialog(self._server, self._socket.getsockname())
        self._socket.sendto(dialog.request(method, 1, body=body), self._server)
        give_up = time.monotonic() + seconds
        while (left := give_up - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                answer = self._socket.recv(65535).decode("utf-8", "replace")
            except OSError:
                time.sleep(min(left, 0.02))  # the server's port is not open yet
                continue
            if dialog.call_id in answer and re.match(r"SIP/2\.0 [2-6]", answer):
                if method == "INVITE":
                    dialog.learn_tag(answer)
                    self._socket.sendto(dialog.request("ACK", 1), self._server)
                return answer
        return ""
