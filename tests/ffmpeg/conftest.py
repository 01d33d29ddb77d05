"""Fixtures: a supervisor with half a second of music, a receiver and a free port."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.ffmpeg.supervisor import Supervisor
from tests.ffmpeg.supervised import supervisor_of
from tests.support.phone import Ear
from tests.support.running import ffmpegs_of, free_ports


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A WAV file with half a second of music. All samples have one level."""
    path = tmp_path / "short.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"\1\2" * 4000)
    return path


@pytest.fixture
def supervisor(music: Path) -> Iterator[Supervisor]:
    playing = supervisor_of({8000: music}, 0.5)
    yield playing
    playing.close()
    assert ffmpegs_of(os.getpid()) == []


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as receiver:
        yield receiver


@pytest.fixture
def port() -> int:
    return free_ports(2)
