"""What the program does before it imports the rest. Stand-ins for the command line, and for ffmpeg."""

from __future__ import annotations

import pytest

from moh.ffmpeg.launch import encoders
from moh.server import beginning
from moh.server.beginning import begin


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sip_server.py"])
    monkeypatch.setattr(beginning, "pause_garbage_collection", lambda: None)


def test_a_missing_package_ends_the_program_before_ffmpeg_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "missing_package", lambda: "no ffmpeg-python")
    monkeypatch.setattr(beginning, "ask_for_encoders", lambda: pytest.fail("ffmpeg was asked"))
    with pytest.raises(SystemExit, match="no ffmpeg-python"):
        begin()


def test_ffmpeg_is_asked_for_its_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "missing_package", lambda: "")
    monkeypatch.setenv("PATH", "")
    assert begin() is None and encoders() == set()
