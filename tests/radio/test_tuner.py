"""Tests of a radio's connection: why it is away, and when it connects again. End to end: with ffmpeg, on the loopback.

The lengths of time are shortened.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from moh.common.addresses import networks
from moh.radio import decoder as decoder_module
from moh.radio import http_client, tuner
from moh.radio.decoder import Decoder
from moh.radio.http_client import HttpClient
from moh.radio.tuner import Tuner
from tests.radio.stations import AAC, MP3_MONO, OK, Station, answers, music, page, plays, send_paced
from tests.support.running import wait_for


class Tuned:
    """A tuner, and a thread that reads its decoders as fast as they deliver."""

    def __init__(self, *addresses: str) -> None:
        self.decoders: list[Decoder] = []
        self.heard = 0.0
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self.tuner = Tuner(addresses, HttpClient(networks("127.0.0.0/8")), -24.0, self.decoders.append)
        self._reader.start()

    def close(self) -> None:
        self.tuner.close()
        time.sleep(0.1)
        self._ended = True
        self._reader.join(2)

    def _read(self) -> None:
        while not self._ended:
            for decoder in list(self.decoders):
                decoder.pump(time.monotonic())
                self.heard += len(decoder.buffer.read(1 << 20)[8000]) / 16000
            time.sleep(0.02)


Tune = Callable[..., Tuned]


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tune]:
    monkeypatch.setattr(tuner, "FIRST_PAUSE", 0.05)
    started: list[Tuned] = []

    def begin(*addresses: str) -> Tuned:
        started.append(Tuned(*addresses))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def why(tuned: Tuned) -> str:
    """Wait until the radio is away. Return the reason."""
    return wait_for(lambda: tuned.tuner.why, "a reason")


def test_a_list_that_changes_its_format_all_the_time_starts_few_ffmpegs(tune: Tune) -> None:
    """A discontinuity of HLS (RFC 8216) has another ffmpeg begin."""
    segments = "".join(f"#EXT-X-DISCONTINUITY\n{i}.ts\n" for i in range(100))
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{segments}#EXT-X-ENDLIST\n".encode()

    def behave(connection: socket.socket, path: str) -> None:
        connection.sendall(page("200 OK", bytes(100)) if path.endswith(".ts") else page("200 OK", text))

    with Station(behave) as station:
        tuned = tune(station.url("/list.m3u8"))
        assert why(tuned) == "its format has changed 6 times, each after less than a second"
        assert len(tuned.decoders) <= 8


FORMATS: dict[str, Sequence[str]] = {
    "mp3": (), "aac": AAC, "mono": MP3_MONO, "192 kHz": ("-ar", "192000", "-c:a", "flac", "-f", "flac"),
    "six channels": ("-ac", "6", "-f", "wav"), "vorbis": ("-c:a", "libvorbis", "-f", "ogg"),
    "opus": ("-c:a", "libopus", "-f", "ogg"), "hls": ("-c:a", "aac", "-f", "mpegts"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_music_of_each_format_is_heard(tune: Tune, name: str) -> None:
    with Station(answers(OK + music(10, *FORMATS[name]))) as station:
        tuned = tune(station.url())
        assert why(tuned) == "the station has ended the connection"
        wait_for(lambda: tuned.heard > 9.5, "the music")


@pytest.mark.parametrize("level", [0.01, 0.9])
def test_the_loudness_is_that_of_the_settings_whatever_the_station_sends(level: float) -> None:
    sent, decoder = music(15, level=level, noise=level / 3), Decoder(-24.0)
    threading.Thread(target=feed, args=[decoder, sent], daemon=True).start()
    give_up, heard = time.monotonic() + 10, b""
    while not decoder.buffer.finished and time.monotonic() < give_up:
        decoder.pump(time.monotonic())
        heard += decoder.buffer.read(1 << 20)[8000]
        time.sleep(0.01)
    assert -25.5 < loudness(heard) < -22.5


def feed(decoder: Decoder, octets: bytes) -> None:
    decoder.feed(octets)
    decoder.end_input()


def loudness(octets: bytes) -> float:
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-f", "s16le", "-ar", "8000", "-i", "pipe:0", "-af", "ebur128"]
    said = subprocess.run([*command, "-f", "null", "-"], input=octets, capture_output=True, check=True).stderr.decode()
    return float(said.rpartition(" I: ")[2].split()[0])


@pytest.mark.parametrize(
    "answer, reason",
    [
        (page("404 Not Found"), "the address answers 404 Not Found"),
        (page("200 OK", b"<html>", Content_Type="text/html"), "the address sends a web page (text/html), not music"),
        (OK, "ffmpeg finds no sound in it"),
        (OK + b"<html>no music here</html>" * 500, "ffmpeg finds no sound in it: Invalid data found"),
        (OK + bytes(100000), "ffmpeg finds no sound in it"),
        (b"", "the connection was closed before an answer came"),
    ],
    ids=["404", "page", "nothing", "page as music", "zeros", "closed"],
)
def test_the_reason_says_what_was_seen(tune: Tune, answer: bytes, reason: str) -> None:
    with Station(answers(answer)) as station:
        assert why(tune(station.url())).startswith(reason)


def test_the_reason_names_the_signal_that_ended_ffmpeg(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of ffmpeg is no fault of the station's."""
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\nkill -8 $$\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Station(answers(OK + bytes(2_000_000))) as station:
        assert why(tune(station.url())) == "ffmpeg was ended by signal 8"


def test_noise_without_a_format_is_not_played(tune: Tune) -> None:
    with Station(answers(OK + os.urandom(400000))) as station:
        tuned = tune(station.url())
        assert why(tuned)
        assert tuned.heard < 4, "less than the programme takes for a radio"


def test_a_trickle_is_away(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "RATE_WINDOW", 1.0)

    def trickles(connection: socket.socket, _: str) -> None:
        connection.sendall(OK)
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)

    with Station(trickles) as station:
        found = why(tune(station.url()))
        assert found.endswith(" octets a second; expected at least 1000")
        assert 5 <= int(found.split()[2]) <= 15


def test_a_station_that_falls_silent_on_the_line_is_away(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "STALL", 0.5)

    def stalls(connection: socket.socket, _: str) -> None:
        connection.sendall(OK + music(10))
        time.sleep(10)

    with Station(stalls) as station:
        assert why(tune(station.url())) == "it has sent nothing for 0 s"


def test_another_codec_in_the_middle_plays_on_the_same_connection(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "NEXT_SOUND", 1.0)

    def changes(connection: socket.socket, _: str) -> None:
        connection.sendall(OK)
        send_paced(connection, music(30), 30, speed=4, last=3)
        send_paced(connection, music(30, *AAC), 30, speed=4)

    with Station(changes) as station:
        tuned = tune(station.url())
        assert wait_for(lambda: len(tuned.decoders) == 2, "another decoder")
        before = tuned.heard
        assert wait_for(lambda: tuned.heard > before + 4, "the music in the other codec")
        assert len(station.requests) == 1
        assert not tuned.tuner.why


def test_another_rate_in_the_middle_plays_on(tune: Tune) -> None:
    def changes(connection: socket.socket, _: str) -> None:
        connection.sendall(OK + music(10) + music(10, *MP3_MONO) + music(10))

    with Station(changes) as station:
        tuned = tune(station.url())
        assert why(tuned) == "the station has ended the connection"
        assert tuned.heard > 13, "what the loudness filter holds is lost at each change"


def test_the_pauses_grow(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(tuner, "LONGEST_PAUSE", 0.5)
    times: list[float] = []
    with Station(lambda *_: times.append(time.monotonic())) as station:
        tune(station.url())
        wait_for(lambda: len(times) > 5, "attempts")
    pauses = [after - before for before, after in zip(times, times[1:])]
    for pause, expected in zip(pauses, (0.1, 0.2, 0.4, 0.5, 0.5)):
        assert expected <= pause < expected + 0.4


def test_addresses_are_tried_in_turn(tune: Tune) -> None:
    with Station(answers(page("404 Not Found"))) as gone, Station(answers(OK + music(10))) as there:
        tuned = tune(gone.url(), there.url())
        wait_for(lambda: tuned.heard > 9, "the second address")
        assert tuned.tuner.address in (gone.url(), there.url())


def test_a_radio_that_is_closed_leaves_no_ffmpeg(tune: Tune) -> None:
    with Station(plays(music(10), 10)) as station:
        tuned = tune(station.url())
        wait_for(lambda: tuned.heard > 1, "music")
        process = tuned.decoders[0]._process
        tuned.tuner.close()
        assert wait_for(lambda: process.poll() is not None, "the end of ffmpeg")


def test_ffmpeg_may_open_nothing_but_pipes() -> None:
    command = decoder_module.decoder_command({8000: 7, 16000: 8}, -24.0, False)
    assert command[command.index("-protocol_whitelist") + 1] == "pipe"
    assert command[command.index("-i") + 1] == "pipe:0"
    assert [word for word in command if word.startswith("pipe:")] == ["pipe:0", "pipe:7", "pipe:8"]
    unchanged = " ".join(decoder_module.decoder_command({8000: 7, 16000: 8}, None, False))
    assert "dynaudnorm" not in unchanged and "alimiter" in unchanged
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n" * 1000
    decoder = Decoder(-24.0)
    try:
        decoder.feed(playlist)
    except decoder_module.DecoderFailed:
        pass
    decoder.end_input()
    for _ in range(100):
        decoder.pump(time.monotonic())
        time.sleep(0.05 if not decoder.buffer.finished else 0)
    assert decoder.buffer.finished
    assert decoder.buffer.heard == 0
