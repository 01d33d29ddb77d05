"""Tests of the lists of stations: M3U, PLS, and the titles in a stream."""

from __future__ import annotations

import pytest

from moh.radio.icy import IcySplitter, interval_of, title_of
from moh.radio.lists import entries, is_hls, is_list, text_of

M3U = "#EXTM3U\n#EXTINF:-1,Jazz\nhttp://one.example/a\n\n  http://two.example/b  \nhttp://one.example/a\nlocal.mp3\n"
PLS = "[playlist]\nNumberOfEntries=2\nFile2=http://two.example/b\nfile1 = http://one.example/a\nTitle1=Jazz\nFile3=\n"


@pytest.mark.parametrize(
    "kind, url, expected",
    [
        ("audio/x-mpegurl", "http://x/y", True),
        ("audio/x-scpls", "http://x/y.mp3", True),
        ("application/vnd.apple.mpegurl", "http://x/y", True),
        ("text/plain", "http://x/y.pls", True),
        ("", "http://x/y.M3U?z=1", True),
        ("audio/mpeg", "http://x/y.m3u", False),
        ("", "http://x/y.mp3", False),
        ("text/html", "http://x/y.m3u", False),
    ],
)
def test_a_list_is_known_by_its_content_type_or_its_ending(kind: str, url: str, expected: bool) -> None:
    assert is_list(kind, url) is expected


def test_the_addresses_in_a_list_are_in_order_and_each_comes_once() -> None:
    assert entries(M3U, "http://x/lists/y.m3u") == [
        "http://one.example/a", "http://two.example/b", "http://x/lists/local.mp3",
    ]  # fmt: skip
    assert entries(PLS, "http://x/y.pls") == ["http://one.example/a", "http://two.example/b"]
    assert entries("", "http://x/") == []
    assert entries("http://[x\nhttp://y/", "http://x/") == ["http://[x", "http://y/"]
    assert len(entries("\n".join(f"http://x/{i}" for i in range(100)), "http://x/")) == 20


def test_a_list_of_hls_is_told_from_others() -> None:
    assert is_hls("#EXTM3U\n#EXT-X-TARGETDURATION:6\n")
    assert not is_hls(M3U)


def test_a_list_may_be_in_an_old_encoding() -> None:
    assert text_of("\ufeffé".encode()) == "é"
    assert text_of(b"\xe9") == "é"


# -- titles ------------------------------------------------------------------------------------------------------------


def block(text: bytes) -> bytes:
    size = (len(text) + 15) // 16
    return bytes([size]) + text.ljust(16 * size, b"\0")


@pytest.mark.parametrize("cut", [1, 3, 7, 1000])
def test_titles_are_taken_out_of_a_stream(cut: int) -> None:
    stream = (
        b"abcd" + block(b"StreamTitle='One';StreamUrl='';") + b"efgh" + b"\0" + b"ijkl" + block(b"StreamTitle='Two';")
        + b"mn"
    )  # fmt: skip
    splitter = IcySplitter(4)
    assert b"".join(splitter.music_in(stream[i : i + cut]) for i in range(0, len(stream), cut)) == b"abcdefghijklmn"
    assert splitter.title == "Two"


def test_a_stream_without_an_interval_is_music_alone() -> None:
    assert IcySplitter(0).music_in(b"abc") == b"abc"
    assert [interval_of(text) for text in ("16000", "0", "x", "-1", "99999999", "2000000")] == [16000, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "metadata, title",
    [
        (b"StreamTitle='It's fine';StreamUrl='x';", "It's fine"),
        (b"StreamTitle='caf\xc3\xa9';", "café"),
        (b"StreamTitle='caf\xe9'", "café"),
        (b"StreamTitle='a\x1b[31m\r\n b';", "a [31m b"),
        (b"StreamTitle='" + b"x" * 3000 + b"';", "x" * 120),
        (b"StreamTitle='';", ""),
        (b"StreamUrl='x';", None),
        (b"", None),
    ],
)
def test_a_title_is_cleaned(metadata: bytes, title: object) -> None:
    assert title_of(metadata) == title
