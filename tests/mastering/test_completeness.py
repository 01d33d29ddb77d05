"""Which files are called incomplete. End to end, by real ffmpeg: the sentence is there if it is true, and only then."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from moh.mastering.completeness import lacks, promised, what_is_missing
from tests.mastering.tracks import make, prepared

WARBLE = "aevalsrc='0.3*sin(2*PI*440*t)*(0.6+0.4*sin(3*t))':s=44100:d=6"
QUIET_THEN_LOUD = "aevalsrc='if(lt(t,3),0.02*sin(2*PI*440*t),0.5*(random(0)-0.5))':s=44100:d=6"
NOISE = random.Random(3).randbytes(300_000)
NO_XING = ("-q:a", "3", "-write_xing", "0")


def whole(kind: str, *options: str, source: str = WARBLE) -> Callable[[Path], bytes]:
    return lambda folder: make(folder / f"made.{kind}", *options, source=source).read_bytes()


def cut(kind: str, *options: str) -> Callable[[Path], bytes]:
    """Return the first third of a file."""

    def third(folder: Path) -> bytes:
        octets = whole(kind, *options)(folder)
        return octets[: len(octets) // 3]

    return third


def xing(frames: int = 0, octets: int = 0, flags: int = 0) -> Callable[[Path], bytes]:
    """Return a whole file whose Xing header says something else."""

    def changed(folder: Path) -> bytes:
        track = bytearray(whole("mp3", "-q:a", "3")(folder))
        at = track.index(b"Xing")
        if flags:
            track[at + 7] = flags
        if frames:
            track[at + 8 : at + 12] = struct.pack(">I", frames)
        if octets:
            track[at + 12 : at + 16] = struct.pack(">I", octets)
        return bytes(track)

    return changed


WHOLE = {
    "an MP3": whole("mp3"),
    "a VBR MP3": whole("mp3", "-q:a", "3"),
    "a VBR MP3 without Xing": whole("mp3", *NO_XING),
    "a VBR MP3 without Xing that begins quietly": whole("mp3", *NO_XING, source=QUIET_THEN_LOUD),
    "an MP3 behind noise": lambda folder: NOISE + whole("mp3", *NO_XING)(folder),
    "an MP3 before noise": lambda folder: whole("mp3", *NO_XING)(folder) + NOISE,
    "an MP3 with Xing before noise": lambda folder: whole("mp3")(folder) + NOISE,
    "an MP3 before zeros": lambda folder: whole("mp3")(folder) + bytes(300_000),
    "two MP3s in a row": lambda folder: whole("mp3")(folder) * 2,
    "a Xing of far too many frames": xing(frames=0x7FFFFFFF),
    "a Xing of twice the frames": xing(frames=460),
    "a Xing of twice the octets": xing(octets=200_000),
    "a Xing of too few frames": xing(frames=20),
    "a Xing without the octets": xing(frames=460, flags=1),
    "an AAC": whole("aac"),
    "a FLAC": whole("flac"),
    "an M4A": whole("m4a"),
    "an M4A for streaming": whole("m4a", "-movflags", "+faststart"),
    "an M4A in fragments": whole("m4a", "-movflags", "frag_keyframe+empty_moov"),
    "an M4A before zeros": lambda folder: whole("m4a")(folder) + bytes(300_000),
    "an M4A before noise": lambda folder: whole("m4a")(folder) + NOISE,
    "an Ogg": whole("ogg"),
    "a WAV": whole("wav"),
    "an AU": whole("au"),
    "an AIFF": whole("aiff"),
    "a WavPack": whole("wv"),
    "a WMA": whole("wma"),
    "a Matroska": whole("mka"),
    "a film that is longer than its sound": whole(
        "mkv", "-f", "lavfi", "-i", "testsrc=size=64x48:duration=9", "-map", "0:a", "-map", "1:v"
    ),
    "an MP4 that is longer than its sound": whole(
        "mp4", "-f", "lavfi", "-i", "testsrc=size=64x48:duration=9", "-map", "0:a", "-map", "1:v"
    ),
}
"""Whole files of six seconds (one of twelve)."""


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_never_said_to_be_incomplete(tmp_path: Path, name: str) -> None:
    track = tmp_path / "track.mp3"  # behind noise, ffmpeg looks for an MP3 only under such a name
    track.write_bytes(WHOLE[name](tmp_path))
    report = prepared(track).report
    assert "breaks off" not in report and "can be read" not in report


CUT = {
    "mp3": (cut("mp3"), "the file breaks off after 2 of 6 s"),
    "vbr": (cut("mp3", "-q:a", "3"), "the file breaks off after 2 of 6 s"),
    "flac": (cut("flac"), "only 2 of its 6 s can be read"),
    "wv": (cut("wv"), "only 1 of its 6 s can be read"),
    "aiff": (cut("aiff"), "the file breaks off after 2 of 6 s"),
    "au": (cut("au"), "the file breaks off after 2 of 6 s"),
    "wav": (cut("wav"), "the file breaks off after 2 s; 67 % of it is missing"),
    "wma": (cut("wma"), "the file breaks off after 2 s; 67 % of it is missing"),
    "m4a": (cut("m4a", "-movflags", "+faststart"), "the file breaks off after 2 of 6 s"),
}


@pytest.mark.parametrize("name", CUT)
def test_a_file_that_is_cut_is_said_to_break_off(tmp_path: Path, name: str) -> None:
    content, words = CUT[name]
    track = tmp_path / "track"
    track.write_bytes(content(tmp_path))
    assert prepared(track).report.split(", ")[-1] == words


KINDS = ["mp3", "m4a", "wav", "aiff", "au", "wma", "mka"]
"""Kinds of files whose header says how large they are."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_lacks_something_until_its_end_is_copied(tmp_path: Path, kind: str) -> None:
    octets = whole(kind)(tmp_path)
    track = tmp_path / "copy"
    for share in (0.3, 0.6, 0.8):
        track.write_bytes(octets[: int(share * len(octets))])
        assert lacks(track), share
    track.write_bytes(octets)
    assert not lacks(track)
    assert promised(track) == pytest.approx(len(octets), abs=2048)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"RIFF\xff\xff\xff\xffWAVEdata\xff\xff\xff\xff" + bytes(100), id="a WAV from a pipe"),
        pytest.param(b"RIFF\0\0\0\0WAVEdata\0\0\0\0" + bytes(100), id="a WAV that was never finished"),
        pytest.param(b"RIFF\x24\0\0\0WAVE", id="a WAV of a header"),
        pytest.param(b"RIFF\x24\0\0\0WAVEJUNK\0\0\0\0" * 2, id="a WAV without samples"),
        pytest.param(b".snd\0\0\0\x18\xff\xff\xff\xff" + bytes(100), id="an AU from a pipe"),
        pytest.param(b"\0\0\0\0mdat" + bytes(100), id="a box up to the end"),
        pytest.param(b"\0\0\0\1mdat" + bytes(4), id="half of a box"),
        pytest.param(b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7 + bytes(100), id="a Matroska from a pipe"),
        pytest.param(b"\x1aE\xdf\xa3", id="a Matroska of four octets"),
        pytest.param(b"\x1aE\xdf\xa3\0\0\0\0", id="a broken Matroska"),
        pytest.param(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", id="a WMA without properties"),
        pytest.param(b"ID3\3\0\0\x7f\x7f\x7f\x7f" + bytes(100), id="a tag that is larger than the file"),
        pytest.param(b"\xff\xfb\x90\0" + bytes(17) + b"Xing", id="half of a Xing"),
        pytest.param(b"\xff\xfb\x90\0" + bytes(17) + b"Xing\0\0\0\2", id="a Xing without its number"),
        pytest.param(NOISE, id="noise"),
    ],
)
def test_a_header_that_says_nothing_proves_nothing(tmp_path: Path, octets: bytes) -> None:
    track = tmp_path / "track"
    track.write_bytes(octets)
    assert not lacks(track)


def test_a_missing_file_lacks_nothing(tmp_path: Path) -> None:
    assert not lacks(tmp_path / "missing")


MP3 = "[info] Input #0, mp3, from 'x':\n"
M4A = "[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'x':\n[info]   Stream #0:0[0x1](und): Audio: aac\n"
PICTURE = "[info]   Stream #0:1[0x0]: Video: png, 64x48 (attached pic)\n"
FILM = "[info]   Stream #0:1[0x0]: Video: h264, 64x48\n"
ESTIMATE = "[warning] Estimating duration from bitrate, this may be inaccurate\n"


@pytest.mark.parametrize(
    ("said", "declared", "words"),
    [
        (M4A, 20.0, "only 6 of its 20 s can be read"),
        (M4A + PICTURE, 20.0, "only 6 of its 20 s can be read"),
        (M4A + FILM, 20.0, ""),
        (M4A + ESTIMATE, 20.0, ""),
        (M4A, 6.5, ""),
        (M4A, None, ""),
        (MP3, 20.0, ""),
    ],
)
def test_a_length_in_the_header_counts_only_if_it_is_that_of_the_sound(
    tmp_path: Path, said: str, declared: float, words: str
) -> None:
    track = tmp_path / "track"
    track.write_bytes(NOISE)
    assert what_is_missing(track, 6.0, declared, said) == words
