"""The samples of an endless tune, from real files."""

from __future__ import annotations

import os
import struct
from array import array
from pathlib import Path

import pytest

from moh.shared.endless_samples import EndlessSamples
from tests.support.crowd import write_wave


def samples(data: bytes) -> list[int]:
    return array("h", data).tolist()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_wave(tmp_path / "tune.wav", array("h", range(100)))


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [
        (0, 3, [0, 1, 2]),
        (98, 4, [98, 99, 0, 1]),
        (-2, 4, [98, 99, 0, 1]),
        (100 * 10**9 + 5, 2, [5, 6]),
        (50, 250, [*range(50, 100), *range(100), *range(100)]),
        (7, 0, []),
    ],
)
def test_the_tune_is_repeated_for_ever(file: Path, first: int, count: int, expected: list[int]) -> None:
    endless = EndlessSamples(file, 8000, 100 / 8000)
    assert samples(endless.read(first, count)) == expected
    endless.close()


def test_what_is_written_later_is_read_later(file: Path) -> None:
    endless = EndlessSamples(file, 8000, 100 / 8000)
    assert samples(endless.read(10, 2)) == [10, 11]
    with open(file, "r+b") as ring:
        ring.seek(44 + 2 * 10)
        ring.write(struct.pack("<hh", -1, -2))
    assert samples(endless.read(10, 2)) == [-1, -2]
    endless.close()


def test_chunks_before_the_samples_are_skipped(tmp_path: Path) -> None:
    head = b"RIFF\0\0\0\0WAVE" + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    head += b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    (tmp_path / "odd.wav").write_bytes(head + b"data\xff\xff\xff\xff" + array("h", [5, 6, 7]).tobytes())
    endless = EndlessSamples(tmp_path / "odd.wav", 16_000, 3 / 16_000)
    assert samples(endless.read(2, 3)) == [7, 5, 6]
    endless.close()


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "no WAV"), (b"<html>" * 100, "no WAV"), (b"RIFF0000WAVE" + b"junk\x00\x00\x00\x00" * 500, "no WAV")],
)
def test_a_file_that_is_no_wav_is_an_error(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "bad.wav").write_bytes(content)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=why):
        EndlessSamples(tmp_path / "bad.wav", 8000, 1.0)
    assert os.listdir("/proc/self/fd") == before


def test_a_file_with_another_rate_or_less_music_is_an_error(file: Path) -> None:
    with pytest.raises(OSError, match="1 x 16 bits at 8000 Hz; expected 1 x 16 at 16000"):
        EndlessSamples(file, 16_000, 1.0)
    endless = EndlessSamples(file, 8000, 101 / 8000)
    with pytest.raises(OSError, match="shorter"):
        endless.read(90, 20)
    endless.close()
