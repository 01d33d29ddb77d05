"""What a file is by its first octets. No ffmpeg; ``test_refusals`` has the whole files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from moh.mastering.contents import has_header, no_music, tags_only

NOISE = random.Random(2).randbytes(1000)
FRAME = b"\xff\xfb\x90\x00" + bytes(413)
"""A frame of MP3: 128 kbit/s at 44.1 kHz, 417 octets."""


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(NOISE, id="noise"),
        pytest.param(b"ID3\3\0\0\0\0\0\0" + FRAME, id="an MP3 with a tag"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", id="a WAV"),
        pytest.param(b"\0\0\0\x20ftypM4A ", id="an MP4"),
        pytest.param(b"OggS\0\2", id="an Ogg"),
        pytest.param(b"\xd5" * 1000, id="silence in A-law"),
        pytest.param(b"\xff" * 1000, id="silence in mu-law"),
        pytest.param(b"do re mi\0\0", id="a text with zeros"),
        pytest.param(b"do re mi\x1b[2J", id="a text with control characters"),
        pytest.param(b"\x80 do re mi", id="a text in no encoding"),
    ],
)
def test_what_may_be_music(beginning: bytes) -> None:
    assert no_music(beginning) == ""


@pytest.mark.parametrize(
    ("beginning", "known"),
    [
        (NOISE, False),
        (b"\xff" * 1000, False),
        (b"\xff\xfb" * 500, False),
        (FRAME * 2, False),
        (FRAME * 3, True),
        (b"RIFF\x24\0\0\0WAVE", True),
        (b"#!AMR\n<", True),
        (b"<html>", True),
    ],
)
def test_a_header_or_frames_in_a_row(beginning: bytes, known: bool) -> None:
    assert has_header(beginning) is known


def test_a_text_with_many_comments_is_recognised_at_once() -> None:
    """With a pattern that backtracks, 60 comments take longer than the age of the universe."""
    comments = b"<!-- a comment -->\n" * 60
    assert no_music(comments + b"some words") == "a text"
    assert no_music(comments + b"<html>") == no_music(b"<html>")
    assert no_music(b"<!-- " * 400 + b"some words") == "a text"


def test_tags_only(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    tag = b"ID3\3\0\0\0\0\1\0" + bytes(128)
    for octets, found in [
        (tag, "ID3"),
        (tag + tag, "ID3"),
        (tag + b"TAG" + bytes(125), "ID3"),
        (tag[:50], "ID3"),
        (tag + FRAME, ""),
        (b"", ""),
        (FRAME + b"TAG" + bytes(125), ""),
        (b"TAG" + bytes(125), "ID3"),
        (b"ID3", ""),
    ]:
        path.write_bytes(octets)
        assert tags_only(path) == found, octets
    assert tags_only(tmp_path / "missing") == ""
