"""The folder of the converted music: what is told when it is full, what goes and what stays. By real ffmpeg."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from moh.mastering.cache import UNUSED
from tests.mastering.test_loudness import NOISE
from tests.mastering.test_prepare import make, prepared, refusal


def test_a_full_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Full)
    said = refusal(make(tmp_path / "track.wav", source=NOISE + "12"), tmp_path / "cache")
    assert said.startswith("Music cannot be kept: 1 MB are needed, 0 MB are free in ")


def test_a_former_state_of_the_file_goes_unless_a_server_plays_it(tmp_path: Path) -> None:
    track = make(tmp_path / "track.wav", source=NOISE + "1")
    playing = prepared(track)
    make(track, "-y", source=NOISE + "1.5")
    second = prepared(track)
    assert all(path.exists() for path in playing.paths.values())
    make(track, "-y", source=NOISE + "2")
    former = dict(playing.paths)
    del playing
    third = prepared(track)
    assert not any(path.exists() for path in former.values())
    assert all(path.exists() for path in [*second.paths.values(), *third.paths.values()])


def test_what_was_unused_for_long_goes_and_what_a_kill_left(tmp_path: Path) -> None:
    paths = prepared(make(tmp_path / "old.wav", source=NOISE + "1")).paths
    (slip,) = (tmp_path / "cache").glob("*.json")
    long_ago = time.time() - UNUSED - 60
    os.utime(slip, (long_ago, long_ago))
    left = tmp_path / "cache" / "unfinished-x"
    left.mkdir()
    (left / "folded.s16").touch()
    os.utime(left, (long_ago, long_ago))
    fresh = tmp_path / "cache" / "unfinished-y"
    fresh.mkdir()
    prepared(make(tmp_path / "new.wav", source=NOISE + "1"))
    assert not any(path.exists() for path in [*paths.values(), slip, left])
    assert fresh.exists(), "somebody may have begun just now"
