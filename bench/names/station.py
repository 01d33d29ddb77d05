"""A radio station on the loopback that dies, comes back, sends garbage, changes its format, falls silent and stalls."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass

from bench.sound import ffmpeg
from moh.mastering.prepare import BUILTIN

HOST = "127.0.0.1"
SECONDS = 50
"""The length of what the station plays, round and round."""
BURST = 8.0
"""Seconds of music that a new listener gets at once, as from Icecast."""
TURN = 0.1
"""Seconds between two parts that the station sends."""
PLAYS, DEAD, GARBAGE, SILENT, STALLED = "plays", "is dead", "sends garbage", "sends silence", "stalls"
"""What the station does. It plays in the format ``mp3`` or ``aac``."""


@dataclass(frozen=True)
class Sent:
    """Music in one format: its octets, for ``SECONDS``."""

    octets: bytes

    def part(self, begin: float, end: float) -> bytes:
        """The octets from second ``begin`` to second ``end``, of music that goes round and round."""
        first, last = (int(at / SECONDS * len(self.octets)) for at in (begin, end))
        octets = self.octets * (last // len(self.octets) - first // len(self.octets) + 1)
        first %= len(self.octets)
        return octets[first : first + last - int(begin / SECONDS * len(self.octets))]


class Station:
    """The station. ``does`` and ``form`` may be changed while it runs."""

    def __init__(self, port: int) -> None:
        self.does, self.form = PLAYS, "mp3"
        self.connections = 0
        """How often it was connected."""
        self._port = port
        self._ended = threading.Event()
        self._music = {
            "mp3": made("volume=9dB,alimiter", "-c:a", "libmp3lame", "-b:a", "128k", "-ac", "2", "-f", "mp3"),
            "aac": made("volume=-9dB", "-c:a", "aac", "-b:a", "64k", "-ac", "1", "-ar", "22050", "-f", "adts"),
        }
        self._silence = made("volume=0", "-c:a", "libmp3lame", "-b:a", "128k", "-ac", "2", "-f", "mp3")
        self._listener = socket.create_server((HOST, port))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self._port}/"

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(4096)
                if self.does == DEAD:
                    connection.sendall(b"HTTP/1.0 503 Service Unavailable\r\n\r\n")
                    return
                self.connections += 1
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n")
                self._send(connection)
            except OSError:
                pass  # the listener has closed the connection

    def _send(self, connection: socket.socket) -> None:
        began = time.monotonic()
        done = -BURST
        while not self._ended.wait(TURN) and self.does != DEAD:
            now = time.monotonic() - began
            if self.does == GARBAGE:
                connection.sendall(os.urandom(int(16000 * (now - done))))
            elif self.does != STALLED:
                sent = Sent(self._silence if self.does == SILENT else self._music[self.form])
                connection.sendall(sent.part(done + SECONDS, now + SECONDS))
            done = now


def made(filters: str, *options: str) -> bytes:
    """The built-in piece, higher by a fifth, so that it can be told from the fallback."""
    higher = f"aresample=44100,asetrate={44100 * 3 // 2},aresample=44100,atrim=end={SECONDS},{filters}"
    return bytes(ffmpeg("-v", "error", "-stream_loop", 3, "-i", BUILTIN, "-af", higher, *options, "-")[0])
