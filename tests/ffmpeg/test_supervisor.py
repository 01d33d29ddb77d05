"""Many orders, and ffmpegs that fail: what ``Supervisor`` owes the server, with real ffmpeg on the loopback.

More than 300 lines, because each way to fail has its own short story.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.common.actions import Address, StartStream, StopStream, StreamEnded, Target
from moh.common.codecs import PCMU
from moh.common.tunes import Tune, Tunes
from moh.ffmpeg.supervisor import Supervisor
from tests.support.phone import Ear, reports
from tests.support.running import ffmpegs_of, free_ports, is_free, processes, wait_for


def with_tune(files: dict[int, Path], seconds: float) -> Supervisor:
    """Streams that have one tune, number 0."""
    tunes = Tunes()
    tunes.add(Tune(files, seconds))
    return Supervisor(tunes)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Half a second of something."""
    path = tmp_path / "short.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\1\2" * 4000)
    return path


@pytest.fixture
def streams(music: Path) -> Iterator[Supervisor]:
    playing = with_tune({8000: music}, 0.5)
    yield playing
    playing.close()
    assert ffmpegs_of(os.getpid()) == []


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as open_ear:
        yield open_ear


@pytest.fixture
def port() -> int:
    return free_ports(2)


def start(ear: Ear, port: int, serial: int = 1, call: str = "call") -> StartStream:
    host, there = ear.address
    to = Target(Address(host, there), Address(host, there + 1), Address("127.0.0.1", port), PCMU, 0, 20)
    return StartStream(call, serial, to, 0.0)


STOP = StopStream("call")


def the_end(streams: Supervisor) -> StreamEnded:
    """Wait for a report; it has to be the only one."""
    (over,) = wait_for(streams.ended, "the report of an end")
    return over


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a Python script in ffmpeg's place."""
    fake = folder / "ffmpeg"
    fake.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def children() -> list[int]:
    return [process for process, _, parent in processes() if parent == os.getpid()]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- orders --------------------------------------------------------------------------------------------------------


def test_after_stop_it_is_silent_and_the_port_is_free(streams: Supervisor, ear: Ear, port: int) -> None:
    streams.order(start(ear, port))
    ear.packets(1)
    streams.order(STOP)
    assert the_end(streams) == StreamEnded("call", 1, "ffmpeg ended with status 255")
    assert is_free(port)
    assert ear.falls_silent()
    assert streams.ended() == []


def test_stopping_twice_is_reported_once(streams: Supervisor, ear: Ear, port: int) -> None:
    streams.order(start(ear, port))
    ear.packets(1)
    streams.order(STOP)
    streams.order(STOP)
    the_end(streams)
    streams.order(STOP)
    assert ear.falls_silent()
    assert streams.ended() == []


def test_stopping_what_never_played_is_not_reported(streams: Supervisor, ear: Ear, port: int) -> None:
    streams.order(STOP)
    streams.order(start(ear, port))
    ear.packets(1)
    assert streams.ended() == []


def test_a_move_takes_the_same_port_and_is_no_end(streams: Supervisor, ear: Ear, port: int) -> None:
    with Ear() as other:
        streams.order(start(ear, port, serial=1))
        assert ear.packets(1)[0].source == ("127.0.0.1", port)
        streams.order(start(other, port, serial=2))
        assert other.packets(1)[0].source == ("127.0.0.1", port)
        assert ear.falls_silent()
        assert streams.ended() == []
        streams.order(STOP)
        assert the_end(streams).serial == 2


def test_start_start_stop_in_a_burst_ends_silent(streams: Supervisor, ear: Ear, port: int) -> None:
    streams.order(start(ear, port, serial=1))
    streams.order(start(ear, port, serial=2))
    streams.order(STOP)
    assert the_end(streams).serial == 2
    assert ear.falls_silent()
    assert streams.ended() == []


def test_start_start_stop_start_in_a_burst_ends_playing(streams: Supervisor, ear: Ear, port: int) -> None:
    for order in (start(ear, port, serial=1), start(ear, port, serial=2), STOP, start(ear, port, serial=3)):
        streams.order(order)
    ear.packets(10)
    assert [over for over in streams.ended() if over.serial == 3] == []
    streams.order(STOP)
    assert the_end(streams).serial == 3


def test_stop_start_in_a_burst_goes_on_playing(streams: Supervisor, ear: Ear, port: int) -> None:
    streams.order(start(ear, port, serial=1))
    first = ear.packets(1)[0]
    streams.order(STOP)
    streams.order(start(ear, port, serial=2))
    wait_for(lambda: ear.packets(1)[0].ssrc != first.ssrc, "the second stream")
    assert len(ffmpegs_of(os.getpid())) == 1


def test_orders_of_many_threads_leave_nothing_behind(streams: Supervisor) -> None:
    """Each call is started and stopped five times by a thread of its own; at the end all is silent and reported."""
    with Ear() as ear:
        ports = [free_ports(2) for _ in range(8)]

        def caller(call: str, port: int) -> None:
            for serial in range(1, 6):
                streams.order(start(ear, port, serial, call))
                streams.order(start(ear, port, serial + 100, call))
                streams.order(StopStream(call))

        threads = [threading.Thread(target=caller, args=(f"call {port}", port)) for port in ports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ends: list[StreamEnded] = []

        def all_told() -> bool:
            ends.extend(streams.ended())
            return {over.call for over in ends if over.serial == 105} == {f"call {port}" for port in ports}

        wait_for(all_told, "the last end of each call")
        assert len({(over.call, over.serial) for over in ends}) == len(ends)
        assert ffmpegs_of(os.getpid()) == []
        assert all(map(is_free, ports))


# -- failures ------------------------------------------------------------------------------------------------------


def test_a_killed_ffmpeg_is_reported(streams: Supervisor, ear: Ear, port: int) -> None:
    streams.order(start(ear, port))
    ear.packets(1)
    (ffmpeg,) = ffmpegs_of(os.getpid())
    os.kill(ffmpeg, signal.SIGKILL)
    assert the_end(streams) == StreamEnded("call", 1, "ffmpeg ended with status -9")


def test_a_busy_port_is_reported_with_the_reason(streams: Supervisor, ear: Ear, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", port))
        streams.order(start(ear, port))
        assert "Address already in use" in the_end(streams).why


def test_a_missing_file_is_reported_with_the_reason(streams: Supervisor, ear: Ear, port: int, music: Path) -> None:
    music.unlink()
    streams.order(start(ear, port))
    assert "No such file or directory" in the_end(streams).why


@pytest.mark.parametrize("leashed", [True, False])
def test_a_missing_ffmpeg_is_reported(
    music: Path, ear: Ear, port: int, leashed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if leashed:
        streams = with_tune({8000: music}, 0.5)
        monkeypatch.setenv("PATH", "")
    else:
        monkeypatch.setenv("PATH", "")
        streams = with_tune({8000: music}, 0.5)
    try:
        streams.order(start(ear, port))
        over = the_end(streams)
        assert over.serial == 1
        assert "ffmpeg" in over.why
        assert "not found" in over.why or "No such file or directory" in over.why
    finally:
        streams.close()


def test_an_order_that_cannot_be_carried_out_is_reported_and_the_rest_goes_on(music: Path, ear: Ear, port: int) -> None:
    streams = with_tune({8000: music}, 0.0)  # music without length: there is no place in it to begin at
    try:
        streams.order(start(ear, port))
        assert "ZeroDivisionError" in the_end(streams).why
        streams.order(start(ear, port, serial=2))
        assert the_end(streams).serial == 2
    finally:
        streams.close()


def test_a_move_that_cannot_be_carried_out_is_reported_and_the_rest_goes_on(
    streams: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second start is tried when the first ffmpeg is buried: a fault there must not end the thread."""
    streams.order(start(ear, port, serial=1))
    ear.packets(1)
    tunes, broken = streams._tunes, Tunes()
    broken.add(Tune(tunes.get(0).files, 0.0))
    monkeypatch.setattr(streams, "_tunes", broken)
    streams.order(start(ear, port, serial=2))
    assert the_end(streams).serial == 2
    monkeypatch.setattr(streams, "_tunes", tunes)
    streams.order(start(ear, port, serial=3))
    assert ear.packets(1)


def test_an_ffmpeg_that_will_not_end_is_killed(
    tmp_path: Path, music: Path, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = tmp_path / "deaf"
    stand_in(
        tmp_path, monkeypatch, f"signal.signal(15, signal.SIG_IGN); open({str(deaf)!r}, 'w').close(); time.sleep(60)"
    )
    streams = with_tune({8000: music}, 0.5)
    try:
        streams.order(start(ear, port))
        wait_for(deaf.exists, "the deaf ffmpeg")
        streams.order(STOP)
        assert the_end(streams).why == "ffmpeg ended with status -9"
        assert reports(ear.report()[0]) == [201, 202, 203], "we take leave in its place"
    finally:
        streams.close()


def test_an_ffmpeg_that_talks_without_end_does_not_stall(
    tmp_path: Path, music: Path, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe holds 64 KiB; this is ten times as much."""
    stand_in(tmp_path, monkeypatch, "sys.stderr.write('chatter\\n' * 80_000); sys.exit(3)")
    streams = with_tune({8000: music}, 0.5)
    try:
        streams.order(start(ear, port))
        assert the_end(streams).why.startswith("ffmpeg ended with status 3: ")
    finally:
        streams.close()


@pytest.mark.parametrize("what", ["moh.ffmpeg.process.Watchdog", "moh.ffmpeg.process.FfmpegProcess", "the selector"])
def test_what_fails_after_the_fork_leaves_no_ffmpeg_behind(
    what: str, streams: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("none is left")

    before, files = children(), open_files()
    with monkeypatch.context() as broken:
        if what == "the selector":
            broken.setattr(streams._selector, "register", fails)
        else:
            broken.setattr(what, fails)
        streams.order(start(ear, port))
        (over,) = wait_for(streams.ended, "the report")
    assert (over.call, over.serial) == ("call", 1)
    assert "MemoryError" in over.why
    assert (children(), open_files()) == (before, files)
    assert is_free(port)
    assert streams.playing == 0
    streams.order(start(ear, port, serial=2))
    assert ear.packets(1)
    assert streams.ended() == []


# -- the end -------------------------------------------------------------------------------------------------------


def test_close_leaves_no_process_no_thread_and_no_open_file(music: Path, ear: Ear) -> None:
    before, files, threads = children(), open_files(), threading.active_count()
    streams = with_tune({8000: music}, 0.5)
    for number in range(5):
        streams.order(start(ear, free_ports(2), call=f"call {number}"))
    ear.packets(1)
    streams.order(start(ear, free_ports(2), serial=2, call="call 3"))
    streams.close()
    assert children() == before  # not even a zombie is left
    assert (open_files(), threading.active_count()) == (files, threads)
    assert {over.call for over in streams.ended()} == {f"call {number}" for number in range(5)}
    streams.order(STOP)  # comes too late, and does no harm
    streams.close()


def test_the_end_waits_not_for_ever(
    music: Path, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As for an ffmpeg that hangs in the kernel: here its end is not seen."""
    streams = with_tune({8000: music}, 0.5)
    streams.order(start(ear, port))
    ear.packets(1)
    with monkeypatch.context() as hanging:
        hanging.setattr("moh.ffmpeg.supervisor.LAST", 0.1)
        hanging.setattr(streams, "_bury", lambda player: None)
        closing = threading.Thread(target=streams.close, daemon=True)
        closing.start()
        wait_for(lambda: not closing.is_alive(), "the end")
        assert "1 ffmpegs have not ended" in caplog.text
    wait_for(lambda: not streams._thread.is_alive(), "the end of the thread, now that it sees that of ffmpeg")
    streams.close()


# -- no way to the listener ----------------------------------------------------------------------------------------


@pytest.fixture
def wayless(tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """Streams whose ffmpeg finds no way while there is a file ``down``."""
    real = shutil.which("ffmpeg")
    (tmp_path / "down").touch()
    said = "rtp://…: Network is unreachable"
    stand_in(
        tmp_path, monkeypatch, f"open({str(tmp_path / 'tried')!r}, 'a').write('.')\n"
        f"if os.path.exists({str(tmp_path / 'down')!r}): sys.exit({said!r})\nos.execv({real!r}, sys.argv)",
    )  # fmt: skip
    streams = with_tune({8000: music}, 0.5)
    yield streams
    streams.close()
    assert ffmpegs_of(os.getpid()) == []


def tried(folder: Path) -> int:
    return len((folder / "tried").read_text()) if (folder / "tried").exists() else 0


def test_a_listener_without_a_way_is_played_to_when_there_is_one(
    wayless: Supervisor, ear: Ear, port: int, tmp_path: Path
) -> None:
    wayless.order(start(ear, port))
    wait_for(lambda: tried(tmp_path) > 1, "another try")
    (tmp_path / "down").unlink()
    ear.packets(1)
    assert wayless.ended() == []
    wayless.order(STOP)
    assert the_end(wayless).serial == 1


def test_who_is_stopped_while_there_is_no_way_is_reported_once(
    wayless: Supervisor, ear: Ear, port: int, tmp_path: Path
) -> None:
    wayless.order(start(ear, port))
    wait_for(lambda: tried(tmp_path) > 1, "another try")
    wayless.order(STOP)
    assert the_end(wayless).serial == 1
    wayless.order(STOP)
    (tmp_path / "down").unlink()
    wayless.order(start(ear, port, serial=2))
    ear.packets(1)
    assert wayless.ended() == []


def test_who_is_moved_while_there_is_no_way_hears_it_there(
    wayless: Supervisor, ear: Ear, port: int, tmp_path: Path
) -> None:
    wayless.order(start(ear, port))
    wait_for(lambda: tried(tmp_path) > 1, "another try")
    (tmp_path / "down").unlink()
    with Ear() as other:
        wayless.order(start(other, port, serial=2))
        other.packets(1)
        wayless.order(STOP)
        assert the_end(wayless).serial == 2
        assert ear.heard_nothing() or ear.falls_silent()


def test_without_a_way_for_long_the_stream_is_over(
    wayless: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moh.ffmpeg.process.HOST_UNREACHABLE_TIMEOUT", 1.2)
    wayless.order(start(ear, port))
    over = the_end(wayless)
    assert "Network is unreachable" in over.why
    assert over.hopeless == "host unreachable", "else the server would try as long once more"


def test_closed_while_there_is_no_way(wayless: Supervisor, ear: Ear, port: int, tmp_path: Path) -> None:
    wayless.order(start(ear, port))
    wait_for(lambda: tried(tmp_path) > 1, "another try")
    wayless.close()
    assert the_end(wayless).serial == 1
