"""End to end: orders to a ``Supervisor``, and ffmpegs that fail, with real ffmpegs on the loopback."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from moh.common.actions import StopStream, StreamEnded
from moh.ffmpeg.supervisor import Supervisor
from tests.ffmpeg.supervised import STOP, stand_in, start, supervisor_of, the_end
from tests.support.phone import Ear, reports
from tests.support.running import ffmpegs_of, free_ports, is_free, processes, wait_for


def children() -> list[int]:
    return [process for process, _, parent in processes() if parent == os.getpid()]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- orders --------------------------------------------------------------------------------------------------------


def test_after_a_stop_no_music_comes_and_the_port_is_free(supervisor: Supervisor, ear: Ear, port: int) -> None:
    supervisor.order(start(ear, port))
    ear.packets(1)
    supervisor.order(STOP)
    assert the_end(supervisor) == StreamEnded("call", 1, "ffmpeg ended with status 255")
    assert is_free(port)
    assert ear.falls_silent()
    assert supervisor.ended() == []


def test_stopping_twice_is_reported_once(supervisor: Supervisor, ear: Ear, port: int) -> None:
    supervisor.order(start(ear, port))
    ear.packets(1)
    supervisor.order(STOP)
    supervisor.order(STOP)
    the_end(supervisor)
    supervisor.order(STOP)
    assert ear.falls_silent()
    assert supervisor.ended() == []


def test_a_stop_of_a_call_that_never_played_is_not_reported(supervisor: Supervisor, ear: Ear, port: int) -> None:
    supervisor.order(STOP)
    supervisor.order(start(ear, port))
    ear.packets(1)
    assert supervisor.ended() == []


def test_a_move_takes_the_same_port_and_is_no_end(supervisor: Supervisor, ear: Ear, port: int) -> None:
    with Ear() as other:
        supervisor.order(start(ear, port, serial=1))
        assert ear.packets(1)[0].source == ("127.0.0.1", port)
        supervisor.order(start(other, port, serial=2))
        assert other.packets(1)[0].source == ("127.0.0.1", port)
        assert ear.falls_silent()
        assert supervisor.ended() == []
        assert supervisor.starts == 2 and supervisor.packets() > 0
        before = supervisor.packets()
        supervisor.order(STOP)
        assert the_end(supervisor).serial == 2
        assert supervisor.packets() >= before and supervisor.retries == 0


def test_start_start_stop_in_a_burst_ends_silent(supervisor: Supervisor, ear: Ear, port: int) -> None:
    supervisor.order(start(ear, port, serial=1))
    supervisor.order(start(ear, port, serial=2))
    supervisor.order(STOP)
    assert the_end(supervisor).serial == 2
    assert ear.falls_silent()
    assert supervisor.ended() == []


def test_start_start_stop_start_in_a_burst_ends_playing(supervisor: Supervisor, ear: Ear, port: int) -> None:
    for order in (start(ear, port, serial=1), start(ear, port, serial=2), STOP, start(ear, port, serial=3)):
        supervisor.order(order)
    ear.packets(10)
    assert [ended for ended in supervisor.ended() if ended.serial == 3] == []
    supervisor.order(STOP)
    assert the_end(supervisor).serial == 3


def test_stop_start_in_a_burst_goes_on_playing(supervisor: Supervisor, ear: Ear, port: int) -> None:
    supervisor.order(start(ear, port, serial=1))
    first = ear.packets(1)[0]
    supervisor.order(STOP)
    supervisor.order(start(ear, port, serial=2))
    wait_for(lambda: ear.packets(1)[0].ssrc != first.ssrc, "the second stream")
    assert len(ffmpegs_of(os.getpid())) == 1


def test_orders_of_many_threads_leave_nothing_behind(supervisor: Supervisor) -> None:
    """A thread for each call starts and stops it five times. At the end no ffmpeg plays and all ends are reported."""
    with Ear() as ear:
        ports = [free_ports(2) for _ in range(8)]

        def caller(call: str, port: int) -> None:
            for serial in range(1, 6):
                supervisor.order(start(ear, port, serial, call))
                supervisor.order(start(ear, port, serial + 100, call))
                supervisor.order(StopStream(call))

        threads = [threading.Thread(target=caller, args=(f"call {port}", port)) for port in ports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ends: list[StreamEnded] = []

        def all_reported() -> bool:
            ends.extend(supervisor.ended())
            return {each.call for each in ends if each.serial == 105} == {f"call {port}" for port in ports}

        wait_for(all_reported, "the last end of each call")
        assert len({(each.call, each.serial) for each in ends}) == len(ends)
        assert ffmpegs_of(os.getpid()) == []
        assert all(map(is_free, ports))


# -- failures ------------------------------------------------------------------------------------------------------


def test_a_killed_ffmpeg_is_reported(supervisor: Supervisor, ear: Ear, port: int) -> None:
    supervisor.order(start(ear, port))
    ear.packets(1)
    (ffmpeg,) = ffmpegs_of(os.getpid())
    os.kill(ffmpeg, signal.SIGKILL)
    assert the_end(supervisor) == StreamEnded("call", 1, "ffmpeg ended with status -9")


def test_a_busy_port_is_reported_with_the_reason(supervisor: Supervisor, ear: Ear, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", port))
        supervisor.order(start(ear, port))
        assert "Address already in use" in the_end(supervisor).why


def test_a_missing_file_is_reported_with_the_reason(supervisor: Supervisor, ear: Ear, port: int, music: Path) -> None:
    music.unlink()
    supervisor.order(start(ear, port))
    assert "No such file or directory" in the_end(supervisor).why


@pytest.mark.parametrize("leashed", [True, False])
def test_a_missing_ffmpeg_is_reported(
    music: Path, ear: Ear, port: int, leashed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if leashed:
        supervisor = supervisor_of({8000: music}, 0.5)
        monkeypatch.setenv("PATH", "")
    else:
        monkeypatch.setenv("PATH", "")
        supervisor = supervisor_of({8000: music}, 0.5)
    try:
        supervisor.order(start(ear, port))
        ended = the_end(supervisor)
        assert ended.serial == 1
        assert "ffmpeg" in ended.why
        assert "not found" in ended.why or "No such file or directory" in ended.why
    finally:
        supervisor.close()


def test_an_order_that_cannot_be_carried_out_is_reported_and_the_rest_goes_on(music: Path, ear: Ear, port: int) -> None:
    supervisor = supervisor_of({8000: music}, 0.0)  # music of length 0 makes the supervisor divide by zero
    try:
        supervisor.order(start(ear, port))
        assert "ZeroDivisionError" in the_end(supervisor).why
        supervisor.order(start(ear, port, serial=2))
        assert the_end(supervisor).serial == 2
    finally:
        supervisor.close()


def test_a_move_that_cannot_be_carried_out_is_reported_and_the_rest_goes_on(
    supervisor: Supervisor, ear: Ear, port: int
) -> None:
    """The supervisor starts the second ffmpeg when the first one has ended. An error then must not end its thread."""
    supervisor.order(start(ear, port, serial=1))
    ear.packets(1)
    supervisor.order(start(ear, port, serial=2, tune=7))
    ended = the_end(supervisor)
    assert ended.serial == 2
    assert "tune is 7; expected one of [0]" in ended.why
    supervisor.order(start(ear, port, serial=3))
    assert ear.packets(1)


def test_an_ffmpeg_that_ignores_sigterm_is_killed(
    tmp_path: Path, music: Path, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "ready"
    stand_in(
        tmp_path, monkeypatch, f"signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w').close(); time.sleep(60)"
    )
    supervisor = supervisor_of({8000: music}, 0.5)
    try:
        supervisor.order(start(ear, port))
        wait_for(ready.exists, "the ffmpeg that ignores SIGTERM")
        supervisor.order(STOP)
        assert the_end(supervisor).why == "ffmpeg ended with status -9"
        assert reports(ear.report()[0]) == [201, 202, 203], "the server sends RTCP BYE in its place"
    finally:
        supervisor.close()


def test_an_ffmpeg_that_fills_its_standard_error_does_not_stall(
    tmp_path: Path, music: Path, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ffmpeg writes ten times the 64 KiB that a pipe holds."""
    stand_in(tmp_path, monkeypatch, "sys.stderr.write('chatter\\n' * 80_000); sys.exit(3)")
    supervisor = supervisor_of({8000: music}, 0.5)
    try:
        supervisor.order(start(ear, port))
        assert the_end(supervisor).why.startswith("ffmpeg ended with status 3: ")
    finally:
        supervisor.close()


@pytest.mark.parametrize("what", ["moh.ffmpeg.process.Watchdog", "moh.ffmpeg.process.FfmpegProcess", "the selector"])
def test_a_start_that_fails_after_the_fork_leaves_no_ffmpeg(
    what: str, supervisor: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("none is left")

    before, files = children(), open_files()
    with monkeypatch.context() as broken:
        if what == "the selector":
            broken.setattr(supervisor._selector, "register", fails)
        else:
            broken.setattr(what, fails)
        supervisor.order(start(ear, port))
        ended = the_end(supervisor)
    assert (ended.call, ended.serial) == ("call", 1)
    assert "MemoryError" in ended.why
    assert (children(), open_files()) == (before, files)
    assert is_free(port)
    assert supervisor.playing == 0
    supervisor.order(start(ear, port, serial=2))
    assert ear.packets(1)
    assert supervisor.ended() == []


# -- faults --------------------------------------------------------------------------------------------------------


def test_a_bug_in_a_turn_is_logged_and_counted_and_the_next_order_is_carried_out(
    supervisor: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def turn() -> None:
        raise AttributeError("a plain bug")

    monkeypatch.setattr("moh.ffmpeg.supervisor.FAULT_PAUSE", 0.01)
    with monkeypatch.context() as broken:
        broken.setattr(supervisor, "_turn", turn)
        supervisor.order(STOP)  # ends the turn that waits
        wait_for(lambda: supervisor.faults.count >= 3, "the third fault")
    supervisor.order(start(ear, port))
    assert ear.packets(1)
    assert caplog.text.count("Traceback") == 1, "once in ten seconds"
    assert "unexpected error in the thread that runs the ffmpegs" in caplog.text
    assert "AttributeError: a plain bug" in caplog.text


def test_a_turn_without_memory_is_counted_and_not_logged(
    supervisor: Supervisor, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def turn() -> None:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(supervisor, "_turn", turn)
        supervisor.order(STOP)  # ends the turn that waits
        wait_for(lambda: supervisor.faults.count, "a fault")
    supervisor.order(start(ear, port))
    assert ear.packets(1)
    assert caplog.text == ""


def test_a_bug_in_an_order_is_logged_with_the_order(
    supervisor: Supervisor, ear: Ear, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.order(start(ear, port, tune=7))
    the_end(supervisor)
    wait_for(lambda: "Traceback" in caplog.text, "the log, which follows the report of the end")
    assert supervisor.faults.count == 1
    assert "StartStream(call='call', serial=1" in caplog.text
    assert "Traceback" in caplog.text


# -- the end -------------------------------------------------------------------------------------------------------


def test_close_leaves_no_process_no_thread_and_no_open_file(music: Path, ear: Ear) -> None:
    before, files, threads = children(), open_files(), threading.active_count()
    supervisor = supervisor_of({8000: music}, 0.5)
    for number in range(5):
        supervisor.order(start(ear, free_ports(2), call=f"call {number}"))
    ear.packets(1)
    supervisor.order(start(ear, free_ports(2), serial=2, call="call 3"))
    supervisor.close()
    assert children() == before  # not even a zombie is left
    assert (open_files(), threading.active_count()) == (files, threads)
    assert {each.call for each in supervisor.ended()} == {f"call {number}" for number in range(5)}
    supervisor.order(STOP)  # an order after close does no harm
    supervisor.close()


def test_close_does_not_wait_for_ever(
    music: Path, ear: Ear, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An ffmpeg may hang in the kernel. In the test, the supervisor does not notice the end of its ffmpeg."""
    supervisor = supervisor_of({8000: music}, 0.5)
    supervisor.order(start(ear, port))
    ear.packets(1)
    with monkeypatch.context() as hanging:
        hanging.setattr("moh.ffmpeg.supervisor.CLOSE_TIMEOUT", 0.1)
        hanging.setattr(supervisor, "_finish", lambda ffmpeg: None)
        closing = threading.Thread(target=supervisor.close, daemon=True)
        closing.start()
        wait_for(lambda: not closing.is_alive(), "the end")
        assert "not ended within 0 s, and left running: 1 ffmpeg" in caplog.text
    wait_for(lambda: not supervisor._thread.is_alive(), "the end of the thread, which notices the end of ffmpeg now")
    supervisor.close()
