"""A server with a music folder, whose library and radios are the test: no process, no thread, no socket."""

from __future__ import annotations

import threading
import wave
from pathlib import Path
from typing import Any

from moh.common.config import Settings
from moh.common.tunes import Tune, Tunes
from moh.mastering.prepare import BUILTIN, Music
from moh.server.child import Message
from moh.server.library import Library
from moh.server.names_state import NamesState
from moh.server.now_playing import NowPlaying
from tests.support.ladder import FLOW, OFFER, ack, make_agent, octets, read, response, tag

PIECE = Music({8000: Path("/converted/8000.wav")}, 48.0, BUILTIN, 0.0, "as it was")


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


class CountedTunes:
    """The tunes of the engines, and how often they were looked through."""

    def __init__(self) -> None:
        self.tunes = Tunes()
        self.kept = 0

    def add_tune(self, tune: Tune) -> int:
        return self.tunes.add(tune)

    def keep(self, numbers: set[int]) -> None:
        self.kept += 1
        self.tunes.keep(numbers)

    @property
    def numbers(self) -> list[int]:
        return sorted(self.tunes._tunes)


class FolderWorld:
    """A server with a music folder; the built-in piece has just been prepared, as tune 0."""

    def __init__(self, folder: Path, stand_in: bool = True) -> None:
        self.cache = folder
        self.agent = make_agent(music=False)
        self.engines = CountedTunes()
        self.lock = threading.Lock()
        self.now = 0.0
        settings = Settings.from_environment({"MOH_MUSIC": str(folder), "MOH_BIND": "192.0.2.9"})
        engines: Any = self.engines
        self.playing = NowPlaying(settings, self.agent, self.lock, self.drive, engines, folder)
        self.library = Library(folder, self.agent, self.lock, self.drive, engines, self.playing)
        child: Any = self.library._child
        self.child: FakeChild = child
        self.calls = 0
        if stand_in:
            self.playing.use(PIECE)

    def drive(self, step: Any, *args: Any) -> bool:
        with self.lock:
            step(*args, now=self.now)
        return True

    def say(self, *messages: dict[str, Any], after: float = 1.0) -> None:
        """The library sends messages, and the server handles them ``after`` seconds."""
        self.child.messages += messages
        self.now += after
        self.library.service(self.now)

    def dial(self, name: str) -> str:
        """Call this name. Return the id of the call."""
        self.calls += 1
        via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{self.calls};rport"
        uri = f"sip:{name}@192.168.1.100"
        message = read(octets("INVITE", body=OFFER, call_id=f"Call-ID: {self.calls}", via=via, uri=uri))
        found = tag(response(self.agent.receive(message, FLOW, self.now)))
        self.agent.receive(ack(found, call_id=f"Call-ID: {self.calls}"), FLOW, self.now)
        return found

    def plays(self, call: str) -> Tune:
        """Return what the call hears."""
        return self.engines.tunes.get(self.agent.registry.calls[call].media.tune)

    def state(self) -> dict[str, Any]:
        return NamesState(self.library, self.agent, self.lock).read(1_000_000.0)
