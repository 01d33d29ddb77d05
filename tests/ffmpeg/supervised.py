"""Helpers of the tests of a running ``Supervisor``: its orders, its reports, and a stand-in for ffmpeg."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from moh.common.actions import Address, StartStream, StopStream, StreamEnded, Target
from moh.common.codecs import PCMU
from moh.common.tunes import Tune, Tunes
from moh.ffmpeg.supervisor import Supervisor
from tests.support.phone import Ear
from tests.support.running import wait_for

STOP = StopStream("call")


def supervisor_of(files: dict[int, Path], seconds: float) -> Supervisor:
    """Return a supervisor with one tune, which has number 0."""
    tunes = Tunes()
    tunes.add(Tune(files, seconds))
    return Supervisor(tunes)


def start(ear: Ear, port: int, serial: int = 1, call: str = "call", tune: int = 0) -> StartStream:
    """Return the ``StartStream`` that tells the supervisor to play to ``ear`` from ``port``."""
    host, there = ear.address
    target = Target(Address(host, there), Address(host, there + 1), Address("127.0.0.1", port), PCMU, 0, 20)
    return StartStream(call, serial, target, 0.0, tune)


def the_end(supervisor: Supervisor, seconds: float = 10.0) -> StreamEnded:
    """Wait for the report that a stream has ended, and return it. There must be no second report."""
    (ended,) = wait_for(supervisor.ended, "the report of an end", seconds)
    return ended


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put the Python program ``script`` as ``ffmpeg`` on the PATH."""
    fake = folder / "ffmpeg"
    fake.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
