"""A phone that makes one call after another. The music of each call goes to an address of its own."""

from __future__ import annotations

import re
import socket
import time

from bench.common.messages import Dialog, HostPort, offer


class Phone:
    """A phone that calls ``server`` from one socket at ``host``. It never ends a call: the server does."""

    def __init__(self, host: str, server: HostPort) -> None:
        self._host, self._server = host, server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))

    def reaches_server(self, seconds: float) -> bool:
        """Send OPTIONS. Return whether the server answers with 200 within ``seconds``."""
        return self._final_answer("OPTIONS", "", seconds).startswith("SIP/2.0 200")

    def call(self, host: str, port: int, seconds: float) -> str:
        """Make a call (INVITE, 200, ACK) whose music goes to ``host`` and ``port``.

        Return an empty text after a 200, the status line of any other final answer, and "no answer" if none comes
        within ``seconds``.
        """
        return self.call_with(offer((host, port), self._host), seconds)

    def call_with(self, body: str, seconds: float) -> str:
        """Make a call whose INVITE has the offer ``body``. The result is that of ``call``."""
        answer = self._final_answer("INVITE", body, seconds) or "no answer"
        return "" if answer.startswith("SIP/2.0 200") else answer.partition("\r")[0]

    def _final_answer(self, method: str, body: str, seconds: float) -> str:
        """Send a request outside of a dialog. Return its final answer; empty if none comes.

        The final answer to an INVITE is acknowledged.
        """
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
