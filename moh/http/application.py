"""The routes of the page, as a WSGI application (PEP 3333)."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Optional, Union

from ..common.codecs import CODECS, Codec
from ..common.faults import FaultLog
from .answers import JSON, NO_CACHE, NO_STORE, STATUSES, Answer, FilePart, data, text, wanted_part
from .gate import HEADERS, refusal
from .health import healthz, readyz
from .metrics import render
from .players import NotYet, Players, Tune
from .sound import CannotMake, Sound
from .state_reader import Reading, State, StateReader
from .static_files import PAGE, StaticFiles

PLAYERS: Mapping[str, Codec] = {codec.name.lower(): codec for codec in CODECS}
"""The codecs by the names of their players: ``/music/pcmu.wav``."""
AGAIN = ("Retry-After", "1")
NO_ANSWER = "the server does not answer"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Environment = Mapping[str, Any]


class Application:
    """Answers each request from the last state of the server. Any number of threads may call it."""

    def __init__(self, reader: StateReader, players: Players, files: Optional[StaticFiles] = None) -> None:
        self._reader = reader
        self._players = players
        self._files = files or StaticFiles()
        self._faults = FaultLog("the page")
        self._json: tuple[int, bytes] = (0, b"")
        self._routes: Mapping[str, Callable[[Environment], Answer]] = {
            "/": lambda environ: self._files.answer(PAGE, environ.get("HTTP_IF_NONE_MATCH", "")),
            "/state.json": lambda environ: self._state(self._reader.latest()),
            "/metrics": lambda environ: self._metrics(self._reader.latest(), environ.get("HTTP_ACCEPT", "")),
            "/healthz": lambda environ: healthz(self._reader.latest()),
            "/readyz": lambda environ: readyz(self._reader.latest()),
            "/music/waveform.json": self._waveform,
        }

    def __call__(self, environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        try:
            answer = refusal(environ) or self._answer(environ)
        except Exception as error:
            self._faults.report(error, time.monotonic(), repr(environ.get("PATH_INFO"))[:200])
            answer = text(500, "an unexpected error; the log of the server has it")
        headers = [("Content-Type", answer.kind), *answer.headers, *HEADERS]
        if answer.status != 304:
            headers.append(("Content-Length", str(answer.length)))
        start_response(STATUSES[answer.status], headers)
        if isinstance(answer.body, bytes):
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
        if environ["REQUEST_METHOD"] == "HEAD":
            answer.body.file.close()
            return []
        found: Iterable[bytes] = environ["wsgi.file_wrapper"](answer.body.file)
        return found

    def _answer(self, environ: Environment) -> Answer:
        path = str(environ.get("PATH_INFO", ""))
        if route := self._routes.get(path):
            return route(environ)
        if path.startswith("/static/"):
            return self._files.answer(path[len("/static/") :], environ.get("HTTP_IF_NONE_MATCH", ""))
        if path.startswith("/music/") and path.endswith(".wav"):
            name, slash, player = path[len("/music/") : -len(".wav")].rpartition("/")
            return self._player(player, environ, _text_of(name) if slash else None)
        return text(404, "there is nothing here; the page is at /")

    # -- the state -------------------------------------------------------------------------------------------------

    def _state(self, reading: Reading) -> Answer:
        if reading.state is None:
            return data(503, {"error": NO_ANSWER, "why": reading.why}, AGAIN)
        number, body = self._json
        if number != reading.number:
            body = json.dumps(public(reading.state), allow_nan=False).encode()
            self._json = (reading.number, body)
        return Answer(200, JSON, b'{"age": %.3f, ' % reading.age + body[1:], (NO_STORE,))

    def _metrics(self, reading: Reading, accept: str) -> Answer:
        if reading.state is None:
            return text(503, f"{NO_ANSWER}: {reading.why}", AGAIN)
        kind, body = render(reading.state, accept)
        return Answer(200, kind, body, (NO_STORE,))

    # -- the music -------------------------------------------------------------------------------------------------

    def _player(self, player: str, environ: Environment, name: Optional[str]) -> Answer:
        """The player of a ``name`` of the music folder, or, without one, of the default."""
        codec = PLAYERS.get(player)
        if codec is None:
            expected = ", ".join(f"/music/{player}.wav" for player in PLAYERS)
            return text(404, f"there is no such player; expected one of {expected}")
        found = self._sound(codec, name)
        return found if isinstance(found, Answer) else _part(found, environ)

    def _waveform(self, environ: Environment) -> Answer:
        found = self._sound(None)
        if not isinstance(found, Answer):
            return data(200, found.waveform)
        line = found.body.decode().rstrip("\n") if isinstance(found.body, bytes) else ""
        return data(found.status, {"error": line}, *found.headers[1:])

    def _sound(self, codec: Optional[Codec], name: Optional[str] = None) -> Union[Sound, Answer]:
        """The music as ``codec`` makes it sound; without a codec, by the first one that the server has.

        A ``name`` is looked up in the list that the state has, and is never part of a path.
        """
        reading = self._reader.latest()
        if reading.state is None:
            return text(503, f"{NO_ANSWER}: {reading.why}", AGAIN)
        music, has = reading.state.get("music"), reading.state.get("codecs", ())
        if name is not None and (music := _music_of(reading.state, name)) is None:
            return text(404, "there is no such name; the page lists those that have a player")
        codec = codec or next((each for each in CODECS if each.name in has), CODECS[0])
        if codec.name not in has:
            return text(404, f"no call gets {codec.name}: the ffmpeg of the server has no encoder {codec.encoder!r}")
        if music and music.get("live"):
            return text(404, "the default is a radio, which has no player; call it")
        path = music.get("files", {}).get(str(codec.sample_rate)) if music else None
        if not music or not path or music["number"] is None:  # of a name that has just become ready
            return text(503, "there is no music yet", AGAIN)
        try:
            return self._players.sound(Tune(music["number"], Path(path), name or ""), codec)
        except NotYet:
            return text(503, f"the player for {codec.name} is being made; ask again in a second", AGAIN)
        except CannotMake as error:
            return text(503, f"there is no player for {codec.name}: {error}")


def _part(sound: Sound, environ: Environment) -> Answer:
    """The file, or the part of it that the Range field asks for."""
    headers = (NO_CACHE, ("ETag", sound.tag), ("Accept-Ranges", "bytes"))
    if sound.tag in environ.get("HTTP_IF_NONE_MATCH", ""):
        return Answer(304, "audio/wav", b"", headers)
    current = environ.get("HTTP_IF_RANGE", sound.tag) == sound.tag
    # Range counts for GET alone (RFC 9110 §14.2)
    current = current and environ["REQUEST_METHOD"] == "GET"
    part = wanted_part(environ.get("HTTP_RANGE", ""), sound.size) if current else None
    if part is None:
        return Answer(200, "audio/wav", FilePart(sound.open(), sound.size), headers)
    start, length = part
    if not length:
        return text(416, f"the file has {sound.size} octets", ("Content-Range", f"bytes */{sound.size}"))
    file = sound.open()
    file.seek(start)
    place = ("Content-Range", f"bytes {start}-{start + length - 1}/{sound.size}")
    return Answer(206, "audio/wav", FilePart(file, length), (*headers, place))


def _text_of(octets: str) -> str:
    """A part of the path as text: WSGI gives octets, each as one character. Empty if they are no UTF-8."""
    try:
        return unicodedata.normalize("NFC", octets.encode("latin-1").decode())
    except UnicodeError:
        return ""


def _music_of(state: State, name: str) -> Optional[Mapping[str, Any]]:
    """The music of a name that is listed and has a player. A radio has none."""
    listed = (state.get("names") or {}).get("listed", ())
    return next((row for row in listed if row["name"] == name and row.get("files")), None)


def public(state: State) -> dict[str, Any]:
    """The state for browsers: without the paths of the converted music, which readers do not need."""
    shown = dict(state)
    if state.get("music"):
        shown["music"] = _without_files(state["music"])
    if state.get("names"):
        shown["names"] = {**state["names"], "listed": [_without_files(row) for row in state["names"]["listed"]]}
    return shown


def _without_files(music: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in music.items() if key != "files"}
