"""A child whose messages a test sends, and a folder of the cache with the music of a name."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

from moh.server.child import Message


class FakeChild:
    """In place of ``Child``: no process."""

    def __init__(self, *_: object, **__: object) -> None:
        self.started = False
        self.has_ended = False
        self.starts = 0
        self.pid = 1
        self.messages: list[Message] = []
        self.sent: list[Message] = []

    def start(self) -> None:
        self.started = True
        self.starts += 1

    def start_again(self) -> None:
        """The process has died, and another one runs."""
        self.messages.clear()
        self.starts += 1

    def send(self, order: Message) -> None:
        self.sent.append(order)

    def take_sent(self) -> list[Message]:
        """Return what was sent since the last call of this."""
        found, self.sent = self.sent, []
        return found

    def drain(self, most: int) -> list[Message]:
        found, self.messages = self.messages[:most], self.messages[most:]
        return found

    def end(self) -> None:
        self.has_ended = True

    def close(self) -> None:
        self.has_ended = True


def entry(cache: Path, name: str, seconds: float = 2.0) -> dict[str, Any]:
    """Make music in the cache. Return the message that it is ready."""
    folder = cache / name
    folder.mkdir(parents=True)
    files = {}
    for rate in (8000, 16000):
        files[str(rate)] = str(folder / f"{rate}.wav")
        with wave.open(files[str(rate)], "wb") as sound:
            sound.setparams((1, 2, rate, 0, "NONE", ""))
            sound.writeframes(b"\0\0" * int(rate * seconds))
    return {
        "what": "ready", "name": name, "files": files, "plain": {}, "plain_for": 0.0, "seconds": seconds,
        "report": "as it was", "summary": f"{name}.mp3 (2 s): as it was", "loudness": -24.0,
        "source": f"/srv/music/{name}.mp3", "announcements": [], "pieces": [{"file": f"{name}.mp3", "at": 0.0}],
        "folders": [str(folder)],
    }  # fmt: skip


def names(*rows: str, default: str = "", **more: Any) -> Message:
    """Return the message with these names; each row is a name, and after a blank its kind."""
    found = [dict(zip(("name", "kind", "pieces"), (*(row + " piece").split(" ")[:2], 1))) for row in rows]
    return {
        "what": "names", "names": found, "default": default or None, "notes": [], "folder": "/srv/music", **more,
    }  # fmt: skip
