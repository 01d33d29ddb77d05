"""End to end: a burst of calls. While too many ffmpegs are starting, further calls get the shared stream at once."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import StartServer
from moh.ffmpeg.starting import starts_at_once
from tests.support.phone import Ear, Phone
from tests.support.running import Running, wait_for

PATIENT = (
    sys.executable, "-c",
    "import runpy, sys; sys.argv = sys.argv[2:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    "import moh.ffmpeg.starting as it; it.LONGEST_START = 3600.0; runpy.run_path(sys.argv[0], run_name='__main__')",
)  # fmt: skip
"""A server for which an ffmpeg counts as starting until it plays, however long that takes."""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file for which each ffmpeg of a call waits before it starts. The folder of the file is for the PATH."""
    path = tmp_path / "gate"
    script = f'case "$*" in *localrtpport*) while [ ! -e {path} ]; do sleep 0.05; done;; esac'
    (tmp_path / "ffmpeg").write_text(f'#!/bin/sh\n{script}\nexec {shutil.which("ffmpeg")} "$@"\n')
    (tmp_path / "ffmpeg").chmod(0o755)
    return path


@pytest.fixture
def server(start_server: StartServer, gate: Path) -> Running:
    return start_server(before=PATIENT, PATH=f"{gate.parent}:/usr/bin:/bin").ready()


def shared_port(server: Running) -> int:
    return int(server.settings["MOH_RTP_PORTS"].partition("-")[2]) // 2 * 2


def test_a_burst_shares_the_stream_at_once_and_calls_after_it_have_an_ffmpeg_again(server: Running, gate: Path) -> None:
    shared, most = shared_port(server), starts_at_once()
    with ExitStack() as stack:
        calls: list[tuple[int, Ear]] = []
        for _ in range(most + 5):
            phone, ear = stack.enter_context(Phone(server.address)), stack.enter_context(Ear("127.0.0.2"))
            calls.append((phone.call(ear.address).media[1], ear))
        assert [port == shared for port, _ in calls] == [False] * most + [True] * 5
        for port, ear in calls[most:]:
            assert ear.packets(3)[0].source[1] == port, "it does not wait for any ffmpeg"
        assert all(ear.heard_nothing() for _, ear in calls[:most])
        gate.touch()
        for port, ear in calls[:most]:
            assert ear.packets(3)[0].source[1] == port

        def has_an_ffmpeg() -> bool:
            phone, ear = stack.enter_context(Phone(server.address)), stack.enter_context(Ear("127.0.0.2"))
            return phone.call(ear.address).media[1] != shared and bool(ear.packets(3))

        wait_for(has_an_ffmpeg, "a call with an ffmpeg of its own")


def test_calls_one_after_another_have_an_ffmpeg_each(server: Running, gate: Path) -> None:
    gate.touch()
    with ExitStack() as stack:
        for number in range(1, starts_at_once() + 4):
            phone, ear = stack.enter_context(Phone(server.address)), stack.enter_context(Ear("127.0.0.2"))
            assert phone.call(ear.address).media[1] != shared_port(server)
            ear.packets(10)  # meanwhile the core has the report that this ffmpeg plays
            assert len(server.ffmpegs) == number
