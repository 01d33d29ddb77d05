"""The addresses of radios in the owner's files."""

from __future__ import annotations

import pytest

from moh.library.addresses import radio_of

STREAM = "http://radio.example/stream"


@pytest.mark.parametrize(
    "text",
    [
        "http://radio.example/stream",
        "\r\n\r\n  http://radio.example/stream  \r\n",
        "\ufeffhttp://radio.example/stream\r\n",
        "# a comment\rhttp://radio.example/stream\r",
        "[InternetShortcut]\r\nURL=http://radio.example/stream\r\nIconFile=C:\\x.ico\r\nIconIndex=0\r\n",
        "[{000214A0-0000-0000-C000-000000000046}]\nProp3=19,2\n[InternetShortcut]\nIDList=\nURL=http://radio.example/stream\n",
        "#EXTM3U\n#EXTINF:-1,Jazz, all night\nhttp://radio.example/stream\n",
        "[playlist]\nNumberOfEntries=1\nFile1=http://radio.example/stream\nTitle1=Jazz\nLength1=-1\nVersion=2\n",
        "http://radio.example/stream\nhttp://radio.example/stream\n",
    ],
)
def test_the_forms_of_such_files(text: str) -> None:
    assert radio_of(text.encode()) == ((STREAM,), "")


def test_utf_16_as_windows_writes_it() -> None:
    assert radio_of(f"{STREAM}\r\n".encode("utf-16")).addresses == (STREAM,)


def test_several_addresses_keep_their_order() -> None:
    assert radio_of(b"https://b.example/1\nhttp://a.example:8000/\n").addresses == (
        "https://b.example/1", "http://a.example:8000/",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no address in it"),
        ("# only a comment\n", "there is no address in it"),
        ("[InternetShortcut]\n", "there is no address in it"),
        ("jazz.mp3", "'jazz.mp3' is the name of a file; a list may name addresses of radios only"),
        ("/music/jazz.m3u", "'/music/jazz.m3u' is the name of a file"),
        (f"{STREAM}\n../secret\n", "'../secret' is the name of a file"),
        ("file:///etc/passwd", "begins with file:, which is not played"),
        ("rtmp://radio.example/x", "begins with rtmp:, which is not played"),
        ("concat:a|b", "is the name of a file"),
        ("http://", "names no host"),
        ("http:///x", "names no host"),
        ("http://radio.example/a b", "is no address"),
        ("http://radio.example/\tx", "is no address"),
        ("http://rädio.example/x", "is no address"),
        (f"{STREAM}/{'x' * 3000}", "is no address"),
        ("once upon a time", "'once upon a time' is no address"),
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(text: str, why: str) -> None:
    radio = radio_of(text.encode())
    assert radio.addresses == ()
    assert why in radio.fault
    assert "expected an address as http://radio.example/stream" in radio.fault
    assert "\n" not in radio.fault and len(radio.fault) < 250


def test_octets_that_are_no_text_and_a_file_without_end_are_refused() -> None:
    assert radio_of(bytes(range(256))).fault
    assert "longer than 65536 octets" in radio_of(b"x" * 65537).fault
    assert radio_of(b"\0" * 65536).fault


def test_of_a_long_list_twenty_addresses_are_tried() -> None:
    text = "".join(f"http://radio.example/{number}\n" for number in range(300))
    assert len(radio_of(text.encode()).addresses) == 20
