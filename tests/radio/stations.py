"""Stations for the tests: small HTTP servers on the loopback, each of which behaves as its function says."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache

HOST = "127.0.0.1"
PORTS = iter(range(24000, 24400))
"""Ports that a test may use. Tests that run at the same time find the next free one."""
OK = b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n"
SEND_EVERY = 0.1
"""Seconds between two parts that a station sends."""

Behave = Callable[[socket.socket, str], None]
"""What a station does with one connection, and the path that was requested."""


class Station:
    """A server that calls ``behave`` for each connection. ``behave`` may be replaced while it runs."""

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.requests: list[str] = []
        self._connections: list[socket.socket] = []
        self._listener = self._listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def url(self, path: str = "/") -> str:
        return f"http://{HOST}:{self.port}{path}"

    def hang_up(self) -> None:
        """Close all connections."""
        while self._connections:
            connection = self._connections.pop()
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()
        self.hang_up()

    def __enter__(self) -> Station:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _listen() -> socket.socket:
        for port in PORTS:
            try:
                return socket.create_server((HOST, port))
            except OSError:
                continue
        raise AssertionError("no free port")

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            try:
                connection.settimeout(10)
                while b"\r\n\r\n" not in head and head[:1] in (b"", b"G") and (octets := connection.recv(4096)):
                    head += octets
                self.requests.append(head.decode("latin-1"))
                self._connections.append(connection)
                self.behave(connection, head.decode("latin-1").split(" ")[1] if b" " in head else "")
            except OSError:
                pass  # the radio has closed the connection


def answers(octets: bytes) -> Behave:
    """Send ``octets`` and close the connection."""
    return lambda connection, _: connection.sendall(octets)


def page(status: str, body: bytes = b"", **fields: str) -> bytes:
    """A whole answer. The fields have ``_`` for ``-``."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def plays(music: bytes, seconds: float, *, head: bytes = OK, burst: float = 6.0, speed: float = 1.0) -> Behave:
    """Send ``music``, which lasts ``seconds``, round and round at its own pace; ``burst`` seconds come at once."""

    def behave(connection: socket.socket, _: str) -> None:
        connection.sendall(head)
        send_paced(connection, music, seconds, burst=burst, speed=speed)

    return behave


def send_paced(
    connection: socket.socket,
    music: bytes,
    seconds: float,
    *,
    burst: float = 0.0,
    speed: float = 1.0,
    last: float = 1e9,
) -> None:
    """As ``plays``, for ``last`` seconds."""
    began, sent = time.monotonic(), 0
    while (now := time.monotonic() - began) < last:
        due = int((now * speed + burst) / seconds * len(music))
        while sent < due:
            at = sent % len(music)
            part = music[at : at + min(due - sent, 65536)]
            connection.sendall(part)
            sent += len(part)
        time.sleep(SEND_EVERY)


@cache
def music(seconds: float, *options: str, frequency: int = 1000, level: float = 0.3, noise: float = 0.1) -> bytes:
    """Music that ffmpeg makes: a tone above some noise. ``options`` choose the format."""
    source = (
        f"aevalsrc='{level}*sin(2*PI*{frequency}*t)+{noise}*(random(0)-0.5)':s=44100:d={seconds}"
    )  # fmt: skip
    return made("-f", "lavfi", "-i", source, *(options or MP3))


BARE_MP3 = ("-c:a", "libmp3lame", "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3")
MP3: Sequence[str] = ("-ac", "2", "-b:a", "128k", *BARE_MP3)
MP3_MONO: Sequence[str] = ("-ac", "1", "-ar", "22050", "-b:a", "32k", *BARE_MP3)
AAC: Sequence[str] = ("-ac", "2", "-c:a", "aac", "-b:a", "96k", "-f", "adts")


def made(*arguments: str) -> bytes:
    """What an ffmpeg with these arguments writes."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", *arguments, "-"]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout
