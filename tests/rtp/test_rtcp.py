"""RTCP packets (RFC 3550 §6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moh.rtp.rtcp import (
    Compound,
    ReportBlock,
    bye,
    empty_report,
    has_bye,
    is_rtp_or_rtcp,
    read_compound,
    report_and_bye,
    sender_report,
    source_description,
)
from tests.support.rtcp import block, receiver_report, sender_report_about


def test_a_bye_is_an_empty_report_a_cname_and_bye() -> None:
    words = bye(0x01020304, "moh@a").hex(" ", 4).split()
    assert words[:2] == ["80c90001", "01020304"], "the empty report"
    assert words[2:6] == ["81ca0003", "01020304", "01056d6f", "68406100"], "the CNAME"
    assert words[6:] == ["81cb0001", "01020304"], "BYE"


def test_an_empty_report_has_the_cname_and_no_bye() -> None:
    assert bye(7, "moh@a").startswith(empty_report(7, "moh@a"))
    assert not has_bye(empty_report(7, "moh@a")) and has_bye(bye(7, "moh@a"))


@pytest.mark.parametrize("cname", ["moh@a", "moh@10.0.0.1", "moh@2001:db8::1", "m"])
def test_all_parts_are_multiples_of_32_bits_and_the_cname_ends_with_a_zero(cname: str) -> None:
    data, types = bye(1, cname), []
    while data:
        length = 4 * (int.from_bytes(data[2:4], "big") + 1)
        types.append(data[1])
        data = data[length:]
    assert types == [201, 202, 203]
    assert cname.encode() + b"\0" in bye(1, cname)


def test_a_sender_report_has_the_time_of_a_timestamp_and_what_was_sent() -> None:
    words = sender_report(0x01020304, 1_000_000.5, 8000, 50, 8000).hex(" ", 4).split()
    assert words[:2] == ["80c80006", "01020304"]
    assert int(words[2], 16) == 2_208_988_800 + 1_000_000, "seconds from 1900"
    assert words[3] == "80000000", "half a second"
    assert [int(word, 16) for word in words[4:]] == [8000, 50, 8000]


@pytest.mark.parametrize("clock", [2_085_978_495.75, 2_085_978_496.0, 4_294_967_296.0, 0.0])
def test_the_clock_wraps_in_2036_as_ntp_does(clock: float) -> None:
    data = sender_report(1, clock, 0, 0, 0)
    assert int.from_bytes(data[8:12], "big") == (int(clock) + 2_208_988_800) % 2**32


def test_the_counts_of_a_sender_report_wrap_at_32_bits() -> None:
    """A week of music has more than 2^32 octets, and a timestamp starts at any number."""
    data = sender_report(1, 1.0, 2**32 + 5, 2**32 + 6, 2**32 + 7)
    assert [int.from_bytes(data[at : at + 4], "big") for at in (16, 20, 24)] == [5, 6, 7]
    assert sender_report(1, 1.0, -160, 0, 0)[16:20] == (2**32 - 160).to_bytes(4, "big")


@pytest.mark.parametrize("cname", ["m", "moh@10.0.0.1", "moh@192.168.100.100", "m" * 255])
def test_the_last_report_comes_with_the_cname_and_bye(cname: str) -> None:
    last = sender_report(7, 1.0, 0, 0, 0)
    assert report_and_bye(last, 7, cname) == last + source_description(7, cname) + bytes.fromhex("81cb000100000007")
    assert len(source_description(7, cname)) % 4 == 0
    assert len(source_description(7, cname)) == 4 * (1 + int.from_bytes(source_description(7, cname)[2:4], "big"))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (bye(7, "phone"), True),
        (sender_report(7, 0.0, 0, 0, 0) + source_description(7, "phone"), False),
        (bye(7, "phone")[:8], False),
        (b"\x81\xcb\0\1\0\0\0\7", True),
        (b"\x01\xcb\0\1\0\0\0\7", False),
        (b"\x81\xc9\0\xff", False),
        (b"", False),
    ],
)
def test_bye_is_found_anywhere_in_a_compound_packet(data: bytes, found: bool) -> None:
    assert has_bye(data) == found


@pytest.mark.parametrize(
    ("data", "media"),
    [
        (b"\x80\x00" + bytes(170), True),
        (bye(7, "phone"), True),
        (b"\x80\xc9\0\1\0\0\0\7", True),
        (b"\x80\xc9\0\1\0\0\0", False),
        (b"\x00\x01\0\0\x21\x12\xa4\x42" + bytes(12), False),  # STUN
        (b"\x16\xfe\xfd" + bytes(20), False),  # DTLS
        (b"OPTIONS sip:1@a SIP/2.0", False),
        (b"\xff" * 20, False),
        (b"", False),
    ],
)
def test_rtp_and_rtcp_are_told_from_what_else_comes_to_a_port(data: bytes, media: bool) -> None:
    assert is_rtp_or_rtcp(data) is media


# -- what receivers report -------------------------------------------------------------------------------------------

ABOUT_7 = ReportBlock(ssrc=7, fraction_lost=0.25, lost=5, highest=0x0001_0005, jitter=16)
ABOUT_8 = ReportBlock(ssrc=8, fraction_lost=0.0, lost=-3, highest=9, jitter=0)
SEVEN, EIGHT = block(7, 64, 5, 0x0001_0005, 16), block(8, 0, -3, 9, 0)
NAMED = source_description(1, "phone")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (receiver_report(SEVEN), [ABOUT_7]),
        (receiver_report(SEVEN, EIGHT) + NAMED, [ABOUT_7, ABOUT_8]),
        (sender_report_about(SEVEN) + NAMED, [ABOUT_7]),
        (receiver_report(SEVEN) + bye(1, "phone"), [ABOUT_7]),
        (receiver_report(SEVEN) + receiver_report(EIGHT), [ABOUT_7, ABOUT_8]),  # for more than 31 sources (§6.1)
        (receiver_report(), []),
        (sender_report_about(), []),
        (NAMED + receiver_report(SEVEN), [ABOUT_7]),  # reduced size, RFC 5506
        (receiver_report(SEVEN, extension=b"abcd"), [ABOUT_7]),  # a profile's extension (§6.4.3)
    ],
)
def test_the_report_blocks_of_all_reports_are_read(data: bytes, expected: list[ReportBlock]) -> None:
    assert read_compound(data) == Compound(True, expected)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        NAMED,
        bytes([0x81, 203, 0, 1, 0, 0, 0, 7]),
        b"\x80\x00" + bytes(170),
        b"\x41" + receiver_report(SEVEN)[1:],  # version 1
        receiver_report(SEVEN)[:7],
    ],
)
def test_data_without_a_report_yields_no_report_block(data: bytes) -> None:
    assert read_compound(data) == Compound(False, [])


@pytest.mark.parametrize(
    "data",
    [
        receiver_report(SEVEN)[:-5],  # cut within the block
        receiver_report(SEVEN)[:8],  # cut behind its head
        b"\x9f" + receiver_report()[1:],  # 31 blocks in a packet of two words
        b"\x81\xc9\x00\x01" + bytes(4) + SEVEN,  # the block is behind the end of the packet
        b"\x81\xc8\x00\x06" + bytes(24),  # a sender report without room for its block
    ],
)
def test_a_block_that_is_not_whole_is_left_out(data: bytes) -> None:
    assert read_compound(data) == Compound(True, [])


@given(st.binary(max_size=200), st.integers(0, 31), st.sampled_from([200, 201]), st.integers(0, 65535))
def test_no_datagram_makes_the_reading_fail_or_yields_more_than_it_holds(
    rest: bytes, count: int, kind: int, length: int
) -> None:
    data = bytes([0x80 | count, kind]) + length.to_bytes(2, "big") + rest
    assert len(read_compound(data).blocks) <= len(data) // 24
