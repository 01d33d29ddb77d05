"""One ffmpeg process: when it is started again, the reason of its exit, and the RTCP BYE in its place. No ffmpeg."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest

from moh.common.actions import Address, StartStream, Target
from moh.common.codecs import PCMU
from moh.common.tunes import Tune
from moh.ffmpeg.process import FfmpegProcess, discard, start_ffmpeg
from moh.ffmpeg.watchdog import Watchdog
from tests.support.phone import reports
from tests.support.running import free_ports


def process(port: int, rtcp: int = 4001, script: str = "", unreachable_for: float = 0.0) -> FfmpegProcess:
    """Return a process with the Python program ``script`` in the place of ffmpeg.

    It was started at 100 s. The order says that the music plays from position 7 s on.
    """
    target = Target(Address("127.0.0.1", 4000), Address("127.0.0.1", rtcp), Address("127.0.0.1", port), PCMU, 0, 20)
    running = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    watchdog = Watchdog(running.pid, target, None)
    order = StartStream("ann", 1, target, 7.0)
    return FfmpegProcess(order, 1, running, 5, 0, "127.0.0.1", watchdog, unreachable_for, began=100.0)


def exited(ffmpeg: FfmpegProcess) -> FfmpegProcess:
    ffmpeg.process.wait()
    ffmpeg.last_output = ffmpeg.stderr.read()
    ffmpeg.stderr.close()
    return ffmpeg


def test_without_a_route_a_call_is_tried_again_at_the_position_that_the_music_would_have() -> None:
    ffmpeg = exited(process(4002))
    again = ffmpeg.retry(102.0)
    assert again is not None
    assert (again.order.position, again.not_before, again.unreachable_for) == (9.5, 102.5, 2.5)


def test_after_thirty_seconds_without_a_route_a_call_is_not_tried_again() -> None:
    assert exited(process(4002, unreachable_for=29.0)).retry(100.5) is not None
    assert exited(process(4002, unreachable_for=29.0)).retry(100.75) is None


def test_after_five_seconds_of_playing_an_earlier_lack_of_a_route_does_not_count() -> None:
    again = exited(process(4002, unreachable_for=29.0)).retry(105.25)
    assert again is not None and again.unreachable_for == 0.5


def test_the_exit_reason_is_the_first_line_of_the_output() -> None:
    assert exited(process(4002, script="import sys; sys.exit(3)")).exit_reason() == "ffmpeg ended with status 3"
    two_lines = exited(process(4002, script="import sys; sys.exit('the cause\\nwhat followed')"))
    assert two_lines.exit_reason() == "ffmpeg ended with status 1: 'the cause'"


def test_a_bye_is_sent_in_place_of_a_killed_ffmpeg() -> None:
    port = free_ports(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp:
        rtcp.bind(("127.0.0.1", 0))
        rtcp.settimeout(10)
        exited(process(port, rtcp.getsockname()[1])).send_bye()
        data, source = rtcp.recvfrom(1500)
    assert source == ("127.0.0.1", port + 1)
    assert reports(data) == [201, 202, 203]


def test_a_process_that_cannot_be_watched_is_killed_and_reaped() -> None:
    ffmpeg = process(4002, script="import time; time.sleep(600)")
    discard(ffmpeg.process, ffmpeg.watchdog)
    assert ffmpeg.process.returncode == -9
    assert ffmpeg.stderr.closed


@pytest.mark.parametrize(("began", "skipped"), [(None, 7.0), (94.5, 5.5), (80.0, 0.0), (10.25, 9.75), (200.0, 0.0)])
def test_live_music_is_played_from_where_the_clock_is(
    began: Optional[float], skipped: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order says 7 s. The ring is 20 s long, and now is 100.0."""
    commands: list[list[str]] = []

    def records(command: list[str]) -> None:
        commands.append(command)
        raise OSError("no ffmpeg in this test")

    monkeypatch.setattr("moh.ffmpeg.process.start_process", records)
    monkeypatch.setattr("moh.ffmpeg.process.time.monotonic", lambda: 100.0)
    here = Address("127.0.0.1", 4000)
    order = StartStream("ann", 1, Target(here, here, here, PCMU, 0, 20), 7.0)
    with pytest.raises(OSError):
        start_ffmpeg(order, 0.0, Tune({8000: Path("ring.wav")}, 20.0, began=began), [], share_port=False)
    filters = commands[0][commands[0].index("-filter:a") + 1]
    assert filters.startswith(f"atrim=start_sample={round(skipped * 8000)}," if skipped else "asetnsamples")


def test_a_command_without_a_program_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    here = Address("127.0.0.1", 4000)
    order = StartStream("ann", 1, Target(here, here, here, PCMU, 0, 20), 0.0)
    with pytest.raises(OSError):
        start_ffmpeg(order, 0.0, Tune({8000: Path("a.wav")}, 1.0), [], share_port=False)
