"""End to end: the process of the radios, with stations on the loopback and a listener that reads the ring."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.common.silence import longest_silence
from tests.radio.running import Listener, Radios, fallback
from tests.radio.stations import OK, Behave, Station, answers, music, page, plays, send_paced
from tests.support.running import ffmpegs_of, is_running, wait_for

MUSIC, SECONDS = music(20), 20.0
RADIO, FALLBACK = 1000, 440
"""The frequencies in Hz of the radio and of its fallback."""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def radios(cache: Path) -> Iterator[Radios]:
    with Radios(cache) as started:
        yield started


def share(samples: object, frequency: int, rate: int = 8000) -> float:
    """The share of the power that is at ``frequency``, by the algorithm of Goertzel."""
    values = list(samples)  # type: ignore[call-overload]
    step = 2 * math.cos(2 * math.pi * frequency / rate)
    before = now = 0.0
    for value in values:
        before, now = now, value + step * now - before
    power = now * now + before * before - step * now * before
    return float(2 * power / len(values) / (sum(value * value for value in values) + 1))


def test_a_radio_is_heard_in_place_of_its_fallback_and_ends_with_the_server(
    radios: Radios, cache: Path, tmp_path: Path
) -> None:
    head = OK[:-2] + b"icy-metaint: 16000\r\n\r\n"

    def behave(connection: socket.socket, _: str) -> None:
        connection.sendall(head)
        text = b"StreamTitle='A song';".ljust(32, b"\0")
        parts = [MUSIC[i : i + 16000] + b"\x02" + text for i in range(0, len(MUSIC) - 16000, 16000)]
        send_paced(connection, b"".join(parts), SECONDS, burst=10)

    with Station(behave) as station:
        radios.play("jazz", [station.url().replace("//", "//me:secret@")], fallback(tmp_path))
        ring = radios.wait(what="ring", name="jazz")
        assert (ring["seconds"], set(ring["files"])) == (120.0, {"8000", "16000"})
        assert abs(ring["began"] - time.monotonic()) < 5
        report = radios.wait(state="plays")
        assert (report["address"], report["why"], report["connections"]) == (station.url(), "", 1)
        if not report["title"]:
            report = radios.wait(title="A song")
        listener = Listener(ring, ahead=13.0)  # it reads what others hear 13 s later
        time.sleep(3)
        heard = listener.listen(1)
        assert share(heard, RADIO) > 0.8
        [ffmpeg] = ffmpegs_of(radios.process.pid)
        assert radios.close() == ""
        assert wait_for(lambda: not is_running(ffmpeg), "the end of ffmpeg")
        assert list(cache.iterdir()) == []


def test_ffmpeg_ends_with_a_process_that_is_killed_and_the_next_one_goes_on(
    radios: Radios, cache: Path, tmp_path: Path
) -> None:
    files = fallback(tmp_path)
    with Station(plays(MUSIC, SECONDS, burst=8)) as station:
        radios.play("jazz", [station.url()], files)
        ring = radios.wait(what="ring")
        radios.wait(state="plays")
        listener = Listener(ring)
        [ffmpeg] = ffmpegs_of(radios.process.pid)
        radios.process.kill()
        assert wait_for(lambda: not is_running(ffmpeg), "the end of ffmpeg")
        with Radios(cache) as second:
            second.play("jazz", [station.url()], files, ring)
            again = second.wait(what="ring")
            assert (again["files"], again["began"]) == (ring["files"], ring["began"])
            second.wait(state="plays")
            heard = listener.listen(2)
            assert longest_silence(heard, 8000) < 100
            second.close()
    assert list(cache.iterdir()) == []


def test_a_station_that_dies_is_not_heard_to_die(cache: Path, tmp_path: Path) -> None:
    shorter = (
        "import moh.radio.tuner, moh.radio.programme as p; moh.radio.tuner.LONGEST_PAUSE = 2.0; p.LOW = 13 * p.FRAMES"
    )
    with Station(plays(MUSIC, SECONDS, burst=6)) as station, Radios(cache, shorter) as radios:
        radios.play("jazz", [station.url()], fallback(tmp_path))
        listener = Listener(radios.wait(what="ring"), ahead=12.0)
        radios.wait(state="plays")
        station.behave = answers(page("503 Service Unavailable"))
        station.hang_up()
        report = radios.wait(state="away", seconds=30)
        assert report["why"] == "the address answers 503 Service Unavailable"
        station.behave = plays(MUSIC, SECONDS, burst=8)
        listener.listen(4)
        assert share(listener.heard[-8000:], FALLBACK) > 0.8
        assert longest_silence(listener.heard, 8000) < 100
        radios.wait(state="plays", seconds=60)
        assert longest_silence(listener.listen(3), 8000) < 100
        radios.close()


SILENCE = music(20, level=0.0, noise=0.0)


@pytest.mark.parametrize(
    "behave, why",
    [
        (plays(SILENCE, 20, burst=8), "it sends silence"),
        (answers(page("404 Not Found")), "the address answers 404 Not Found"),
        (answers(OK + os.urandom(300000)), ""),
        (lambda connection, _: connection.sendall(OK + MUSIC[:3000]), "the station has ended the connection"),
    ],
    ids=["silence", "404", "noise", "closes at once"],
)  # fmt: skip
def test_what_is_no_music_is_the_fallback(radios: Radios, tmp_path: Path, behave: Behave, why: str) -> None:
    with Station(behave) as station:
        radios.play("jazz", [station.url()], fallback(tmp_path))
        ring = radios.wait(what="ring")
        report = radios.wait(state="away")
        assert report["why"] == (why or report["why"])
        assert report["address"] == station.url()
        heard = Listener(ring, ahead=10.0).listen(2)
        assert share(heard, FALLBACK) > 0.9
        assert longest_silence(heard, 8000) == 0
        assert all(each["state"] != "plays" for each in radios.reports if each["what"] == "radio")
        radios.close()


def test_orders_change_and_stop_a_radio(radios: Radios, cache: Path, tmp_path: Path) -> None:
    with Station(answers(page("404 Not Found"))) as gone, Station(plays(MUSIC, SECONDS, burst=8)) as there:
        radios.play("jazz", [gone.url()], fallback(tmp_path))
        ring = radios.wait(what="ring")
        radios.wait(state="away", why="the address answers 404 Not Found")
        radios.play("jazz", [gone.url()], fallback(tmp_path, "other", 700))
        time.sleep(1)
        assert share(Listener(ring, ahead=14.0).listen(1.5)[-4000:], 700) > 0.8
        radios.play("jazz", [there.url()], fallback(tmp_path, "other", 700))
        radios.wait(state="plays", address=there.url())
        radios.order(do="stop", name="jazz")
        wait_for(lambda: list(cache.iterdir()) == [], "the ring to go")
        radios.order(do="dance", name="jazz")
        assert radios.close() == "ERROR radio: the order 'dance'; expected play or stop\n"


def test_a_ninth_radio_is_refused_until_another_one_stops(radios: Radios, tmp_path: Path) -> None:
    files = fallback(tmp_path)
    for i in range(9):
        radios.play(f"r{i}", ["http://127.0.0.1:1/"], files)
    radios.wait(name="r8", state="away", why="8 radios play already, and no more are possible")
    radios.order(do="stop", name="r3")
    radios.play("r8", ["http://127.0.0.1:1/"], files)
    radios.wait(what="ring", name="r8")
    radios.wait(name="r8", state="away", why="cannot connect to 127.0.0.1 port 1: Connection refused")
    radios.close()


def test_a_fallback_that_comes_later_is_waited_for(cache: Path, tmp_path: Path) -> None:
    missing = {rate: tmp_path / f"later-{rate}.wav" for rate in (8000, 16000)}
    with Radios(cache, "import moh.radio.radios; moh.radio.radios.RETRY_EVERY = 1.0") as radios:
        radios.play("jazz", ["http://127.0.0.1:1/"], missing)
        assert radios.wait(state="away")["why"].startswith("its fallback cannot be read: ")
        fallback(tmp_path, "later")
        radios.wait(what="ring")
        radios.close()


def test_signals_are_for_the_server(radios: Radios, tmp_path: Path) -> None:
    radios.play("jazz", ["http://127.0.0.1:1/"], fallback(tmp_path))
    radios.wait(what="ring")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(radios.process.pid, number)
    time.sleep(0.2)
    assert radios.process.poll() is None
    radios.close()


def test_a_private_address_is_refused_without_the_setting(cache: Path, tmp_path: Path) -> None:
    with Radios(cache, MOH_ALLOW_RADIO="") as radios:
        radios.play("jazz", ["http://127.0.0.1:1/"], fallback(tmp_path))
        report = radios.wait(state="away")
        assert report["why"] == "127.0.0.1 is not on the internet; MOH_ALLOW_RADIO=127.0.0.1 would allow it"
        radios.close()
