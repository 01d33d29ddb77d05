"""Tests of the rings: the files, the lock of the writer, and what a killed process has left."""

from __future__ import annotations

import errno
import os
import struct
import wave
from pathlib import Path

import pytest

from moh.mastering.cache import Lock, length_of
from moh.radio.ring import NoRing, Ring, clean


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


def sound(frames: int, value: int) -> dict[int, bytes]:
    return {8000: struct.pack("<h", value) * frames, 16000: struct.pack("<h", value) * 2 * frames}


def test_a_ring_is_two_wav_files_of_120_seconds(cache: Path) -> None:
    ring = Ring.make(cache, 5.0)
    assert (ring.began, ring.written) == (5.0, 0)
    for rate, path in ring.files.items():
        assert length_of(path) == 120.0
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2)
        assert os.stat(path).st_blocks * 512 >= 240 * rate, "all of it has its place on the disk"


def test_what_is_written_past_the_end_is_at_the_beginning(cache: Path) -> None:
    ring = Ring.make(cache, 0.0)
    ring.write(120 * 8000 - 100, sound(300, 7))
    assert ring.read(120 * 8000 - 100, 300) == sound(300, 7)
    assert ring.read(120 * 8000 + 200, 1) == sound(1, 0)
    with wave.open(str(ring.files[16000])) as file:
        assert file.readframes(400) == struct.pack("<h", 7) * 400
    assert ring.read(240 * 8000, 200) == sound(200, 7), "one round later"


def test_the_next_process_takes_a_ring_over(cache: Path) -> None:
    first = Ring.make(cache, 3.0)
    first.written = 12345
    files = dict(first.files)
    with pytest.raises(NoRing, match="cannot be taken over"):
        Ring.take_over(cache, files, 3.0)
    del first
    second = Ring.take_over(cache, files, 3.0)
    assert (second.began, second.written, second.files) == (3.0, 12345, files)


@pytest.mark.parametrize("name", ["other-1", "radio-1"])
def test_a_folder_that_is_no_ring_is_not_taken_over(cache: Path, name: str) -> None:
    folder = cache / name
    folder.mkdir()
    for file in ("8000.wav", "16000.wav", "written"):
        (folder / file).write_bytes(b"x")
    with pytest.raises(NoRing):
        Ring.take_over(cache, {rate: folder / f"{rate}.wav" for rate in (8000, 16000)}, 0.0)
    with pytest.raises(NoRing):
        Ring.take_over(cache / "elsewhere", {8000: folder / "8000.wav", 16000: folder / "16000.wav"}, 0.0)


def test_a_ring_that_another_user_could_have_written_is_not_taken_over(cache: Path) -> None:
    ring = Ring.make(cache, 0.0)
    files = dict(ring.files)
    del ring
    files[8000].parent.chmod(0o777)
    with pytest.raises(NoRing, match="not a folder of this user alone"):
        Ring.take_over(cache, files, 0.0)


def test_rings_of_killed_processes_are_removed(cache: Path) -> None:
    used, dead, young = (Ring.make(cache, 0.0) for _ in range(3))
    folders = [next(iter(ring.files.values())).parent for ring in (used, dead, young)]
    other = cache / "0123456789ab-0123456789ab-0123456789ab"
    other.mkdir()
    for folder in (*folders[:2], other):
        os.utime(folder, (1.0, 1.0))
    del dead, young
    clean(cache)
    assert [folder.exists() for folder in (*folders, other)] == [True, False, True, True]


def test_a_ring_in_use_is_fresh(cache: Path) -> None:
    ring = Ring.make(cache, 0.0)
    folder = ring.files[8000].parent
    os.utime(folder, (1.0, 1.0))
    ring.freshen(1e12)
    assert folder.stat().st_mtime > 1000
    ring.remove()
    ring.freshen(2e12)
    assert not folder.exists()


def test_a_full_cache_is_reported_and_nothing_is_left(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoRing) as caught:
        Ring.make(cache, 0.0)
    assert str(caught.value) == "the cache has no room for the 5.8 MB of a radio"
    assert list(cache.iterdir()) == []


def test_a_cache_that_takes_no_file_is_reported(cache: Path) -> None:
    with pytest.raises(NoRing) as caught:
        Ring.make(cache / "missing", 0.0)
    assert str(caught.value) == "the cache does not take the files of a radio: No such file or directory"


def test_the_writer_locks_the_folder(cache: Path) -> None:
    ring = Ring.make(cache, 0.0)
    with pytest.raises(BlockingIOError):
        Lock(ring.files[8000].parent, exclusive=True)
