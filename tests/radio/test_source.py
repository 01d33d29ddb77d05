"""Tests of what an address sends: streams, lists that name streams, and HLS. End to end: by sockets on the loopback."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from typing import Optional

import pytest

from moh.common.addresses import networks
from moh.radio import hls
from moh.radio.destinations import SourceFailed
from moh.radio.hls import Segment, segments, variant
from moh.radio.http_client import HttpClient
from moh.radio.source import Source
from tests.radio.stations import Station, answers, page

CLIENT = HttpClient(networks("127.0.0.0/8"))


@pytest.fixture
def station() -> Iterator[Station]:
    with Station(answers(b"")) as made:
        yield made


def site(pages: Mapping[str, bytes]) -> Callable[[socket.socket, str], None]:
    """A server with a whole answer for each path."""
    return lambda connection, path: connection.sendall(pages.get(path, page("404 Not Found")))


def m3u(*addresses: str) -> bytes:
    return page("200 OK", "\n".join(addresses).encode(), Content_Type="audio/x-mpegurl")


def stream(music: bytes) -> bytes:
    return page("200 OK", music, Content_Type="audio/mpeg")


def received(station: Station, path: str = "/", turn: int = 0) -> list[Optional[bytes]]:
    source = Source(CLIENT, lambda seconds: False)
    source.open(station.url(path), turn)
    return list(source.octets())


def refusal(station: Station, pages: Mapping[str, bytes]) -> str:
    station.behave = site(pages)
    with pytest.raises(SourceFailed) as caught:
        received(station)
    return str(caught.value)


def test_a_stream_is_its_octets_without_its_titles(station: Station) -> None:
    music = b"abcd\x01StreamTitle='x';efgh\x00ij"
    station.behave = answers(b"ICY 200 OK\r\nicy-metaint: 4\r\ncontent-type: audio/mpeg\r\n\r\n" + music)
    source = Source(CLIENT, lambda seconds: False)
    source.open(station.url(), 0)
    assert b"".join(filter(None, source.octets())) == b"abcdefghij"
    assert source.title == "x"
    assert "Icy-MetaData: 1\r\n" in station.requests[0]


@pytest.mark.parametrize(
    "kind, why",
    [
        ("text/html; charset=utf-8", "the address sends a web page (text/html), not music"),
        ("image/png", "the address sends image/png, not music"),
        ("application/json", "the address sends application/json, not music"),
        ("text/plain", "the address sends text/plain, not music"),
    ],
)
def test_what_is_no_music_by_its_content_type_is_refused(station: Station, kind: str, why: str) -> None:
    assert refusal(station, {"/": page("200 OK", b"x", Content_Type=kind)}) == why


def test_an_answer_without_a_content_type_may_be_music(station: Station) -> None:
    station.behave = answers(b"HTTP/1.0 200 OK\r\n\r\nabc")
    assert received(station) == [b"abc"]


# -- lists -------------------------------------------------------------------------------------------------------------


def test_the_addresses_of_a_list_are_tried_in_turn(station: Station) -> None:
    station.behave = site({"/": m3u("/gone", "/one", "/two"), "/one": stream(b"1"), "/two": stream(b"2")})
    assert received(station) == [b"1"]
    assert received(station, turn=2) == [b"2"]


def test_lists_are_followed_three_deep(station: Station) -> None:
    pages = {"/": m3u("/2"), "/2": m3u("/3"), "/3": m3u("/music"), "/music": stream(b"x")}
    station.behave = site(pages)
    assert received(station) == [b"x"]
    deeper = {**pages, "/3": m3u("/4"), "/4": m3u("/music")}
    assert refusal(station, deeper) == f"more than 3 lists name each other; the last one is {station.url('/4')}"


def test_a_list_that_names_itself_is_refused(station: Station) -> None:
    assert refusal(station, {"/": m3u("/")}) == f"the list {station.url()} names itself"
    assert refusal(station, {"/": m3u("/2"), "/2": m3u("/")}) == f"the list {station.url()} names itself"


def test_lists_that_name_many_lists_have_an_end(station: Station) -> None:
    many = m3u(*(f"/{i}" for i in range(20)))
    pages = {"/": many, **{f"/{i}": m3u(*(f"/{i}/{j}" for j in range(20))) for i in range(20)}}
    why = refusal(station, pages)
    assert len(station.requests) <= 41
    assert why == "the address answers 404 Not Found"


@pytest.mark.parametrize(
    "body, why",
    [
        (b"", "names no address"),
        (b"# nothing", "names no address"),
        (b"file:///etc/passwd", "is no address of HTTP"),
        (b"http://169.254.169.254/latest", "169.254.169.254 is not on the internet; MOH_ALLOW_RADIO="),
        (b"x" * 70000, "has more than 65536 octets"),
    ],
)
def test_a_list_without_a_station_is_refused(station: Station, body: bytes, why: str) -> None:
    assert why in refusal(station, {"/": page("200 OK", body, Content_Type="audio/x-scpls")})


# -- HLS ---------------------------------------------------------------------------------------------------------------

HLS = "application/vnd.apple.mpegurl"


def hls_list(*lines: str, first: int = 0, end: bool = True) -> bytes:
    tags = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}", *lines]
    return page("200 OK", "\n".join([*tags, *(["#EXT-X-ENDLIST"] if end else [])]).encode(), Content_Type=HLS)


def numbered(*numbers: int) -> dict[str, bytes]:
    return {f"/{i}.ts": page("200 OK", f"<{i}>".encode(), Content_Type="video/mp2t") for i in numbers}


def test_the_segments_of_a_list_come_in_order(station: Station) -> None:
    station.behave = site({"/": hls_list("1.ts", "#EXTINF:1,", "2.ts", "/3.ts"), **numbered(1, 2, 3)})
    assert received(station) == [b"<1>", b"<2>", b"<3>"]


def test_a_live_list_begins_near_its_end_and_goes_on(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls, "SHORTEST_WAIT", 0.0)
    lists = iter(
        [
            hls_list("1.ts", "2.ts", "3.ts", "4.ts", "5.ts", first=7, end=False),
            hls_list("3.ts", "4.ts", "5.ts", "6.ts", first=9, end=False),
            hls_list("5.ts", "6.ts", "7.ts", first=11),
        ]
    )
    station.behave = lambda connection, path: connection.sendall(
        next(lists) if path == "/" else numbered(int(path[1:-3]))[path]
    )
    assert received(station) == [b"<3>", b"<4>", b"<5>", b"<6>", b"<7>"]


def test_a_new_decoder_begins_where_the_format_may_change(station: Station) -> None:
    first = hls_list(
        '#EXT-X-MAP:URI="1.ts"', "2.ts", "#EXT-X-DISCONTINUITY", "3.ts", '#EXT-X-MAP:URI="4.ts",BYTERANGE="3@0"', "5.ts"
    )
    station.behave = site({"/": first, **numbered(1, 2, 3, 4, 5)})
    assert received(station) == [b"<1>", b"<2>", None, b"<1>", b"<3>", None, b"<4>", b"<5>"]
    assert any("Range: bytes=0-2\r\n" in request for request in station.requests)


def test_the_cheapest_variant_that_is_good_enough_is_taken() -> None:
    text = (
        '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=32000\nlow\n#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="a,b"\nhigh\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=96000\nfine\n"
    )
    assert variant(text, "http://x/y/z.m3u8") == "http://x/y/fine"
    sound = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="sound"\n#EXT-X-STREAM-INF:BANDWIDTH=90000,AUDIO="a"\nfilm\n'
    assert variant(sound, "http://x/") == "http://x/sound"
    assert variant("#EXTM3U\n#EXT-X-TARGETDURATION:6\na.ts\n", "http://x/") is None


def test_a_list_of_variants_leads_to_the_segments(station: Station) -> None:
    master = page("200 OK", b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/a/list", Content_Type=HLS)
    pages = {"/": master, "/a/list": hls_list("../1.ts"), **numbered(1)}
    station.behave = site(pages)
    assert received(station) == [b"<1>"]
    assert refusal(station, {**pages, "/a/list": master}) == "its list of variants names another list of variants"


def test_parts_of_a_file_are_segments() -> None:
    found = segments("#EXT-X-BYTERANGE:10@5\na\n#EXT-X-BYTERANGE:7\na\nb\n", "http://x/")
    assert [(each.url, each.first, each.size) for each in found.segments] == [
        ("http://x/a", 5, 10), ("http://x/a", 15, 7), ("http://x/b", None, 0),
    ]  # fmt: skip
    assert found.segments[0] == Segment(0, "http://x/a", 5, 10)


def test_a_list_of_nonsense_is_bounded() -> None:
    found = segments("#EXT-X-TARGETDURATION:9e9\n#EXT-X-MEDIA-SEQUENCE:-1\n" + "a\n" * 5000, "http://x/")
    assert (len(found.segments), found.target) == (1000, 1.0)


@pytest.mark.parametrize(
    "line, why",
    [
        ("http://10.0.0.1/a.ts", "10.0.0.1 is not on the internet"),
        ("file:///etc/passwd", "is no address of HTTP"),
        ("#EXT-X-KEY:METHOD=AES-128,URI=x", "its segments are encrypted (AES-128); expected segments as they are"),
        ("missing.ts", "the address answers 404 Not Found"),
    ],
)
def test_segments_are_fetched_as_carefully_as_streams(station: Station, line: str, why: str) -> None:
    assert why in refusal(station, {"/": hls_list(line)})


def test_a_segment_has_an_end(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls, "MOST_SEGMENT", 2)
    assert "a segment has more than" in refusal(station, {"/": hls_list("1.ts"), **numbered(1)})


def test_a_list_that_does_not_change_has_an_end(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls, "SHORTEST_WAIT", 0.01)
    monkeypatch.setattr(hls, "STALE", 0.1)
    why = refusal(station, {"/": hls_list("1.ts", end=False), **numbered(1)})
    assert why == "its list has had no new segment for 0 s"


def test_a_list_with_too_many_segments_takes_little_memory() -> None:
    text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:5\n" + "a\n" * 130_000
    tracemalloc.start()
    found = segments(text, f"http://radio.example/{'b' * 2000}/list").segments
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(found), found[-1].number) == (1000, 130_004)
    assert found[-1].url == f"http://radio.example/{'b' * 2000}/a"
    assert peak < 40e6, f"{peak / 1e6:.0f} MB; each address as a whole would be 270 MB"


def test_empty_segments_are_no_music(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls, "STALE", 0.0)
    pages = {"/": hls_list("1.ts", "2.ts", end=False), "/1.ts": page("200 OK"), **numbered(2)}
    assert refusal(station, pages) == "its segments have been empty for 0 s"


def test_an_abort_ends_a_source_with_its_reason(station: Station) -> None:
    def behave(connection: socket.socket, _: str) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nx")
        connection.recv(1)

    station.behave = behave
    source = Source(CLIENT, lambda seconds: False)
    source.open(station.url(), 0)
    octets = source.octets()
    assert next(octets) == b"x"
    source.abort("it is too slow")
    with pytest.raises(SourceFailed, match=r"^it is too slow$"):
        next(octets)
