"""The offer and the answer (RFC 3264, RFC 8866, RFC 7088)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moh.common.actions import Address
from moh.common.codecs import PCMU
from moh.common.errors import Refusal
from moh.sdp.description import parse_sdp
from moh.sdp.offer_answer import Choice, Side, choose, write_answer, write_offer
from moh.sip.message import Request
from moh.sip.parser import parse
from tests.support.offers import AUDIO, OURS, START, answer, chosen, refusal, session, warning

WIRE = Path(__file__).parent.parent / "wire"


# -- what phones offer ---------------------------------------------------------------------------------------------


def test_the_offer_of_a_dp750_gets_music_where_it_says() -> None:
    message = parse((WIRE / "dp750_invite.sip").read_bytes())
    assert isinstance(message, Request)
    offer = parse_sdp(message.body)
    assert choose(offer) == Choice(
        index=0,
        remote=Address("203.0.113.20", 17422),
        remote_rtcp=Address("203.0.113.20", 17423),
        codec=PCMU,
        payload_type=0,
        ptime=20,
        direction="sendonly",
    )
    assert write_answer(offer, choose(offer), OURS, 7, 2).decode().split("\r\n") == [
        "v=0", "o=- 7 2 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0",
        "m=audio 10000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendonly", "",
    ]  # fmt: skip


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r", "\n\n", " \r\n"])
def test_any_line_ends_do(ends: str) -> None:
    offer = parse_sdp((START + AUDIO).replace("\n", ends).encode())
    assert choose(offer).remote == Address("192.0.2.1", 4000)


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("a=recvonly\n", "sendonly"),
        ("a=sendrecv\n", "sendonly"),
        ("", "sendonly"),
        ("a=active\n", "sendonly"),
        ("a=inactive\n", "inactive"),
        ("a=sendonly\n", "inactive"),
        ("a=RecvOnly\n", "sendonly"),
        ("c=IN IP4 0.0.0.0\n", "inactive"),
        ("c=IN IP4 0.0.0.0\na=recvonly\n", "inactive"),
        ("c=IN IP6 ::\n", "inactive"),
    ],
)
def test_the_direction_is_turned_round(offered: str, answered: str) -> None:
    choice = chosen(AUDIO + offered)
    assert (choice.direction, choice.playing) == (answered, answered == "sendonly")
    assert answer(AUDIO + offered)[-1] == f"a={answered}"


def test_the_session_speaks_for_the_stream_that_says_nothing() -> None:
    start = START + "a=inactive\na=ptime:30\na=maxptime:40\n"
    assert (chosen(start=start).direction, chosen(start=start).ptime) == ("inactive", 30)
    assert chosen(AUDIO + "a=ptime:60\n", start).ptime == 40
    own = chosen(AUDIO + "c=IN IP4 192.0.2.2\na=recvonly\na=ptime:10\n", start)
    assert (own.direction, own.ptime, own.remote.host) == ("sendonly", 10, "192.0.2.2")


def test_what_one_stream_says_does_not_hold_for_the_next() -> None:
    lines = "m=video 4002 RTP/AVP 31\nc=IN IP4 192.0.2.3\na=inactive\na=ptime:60\na=rtpmap:0 X/8000\n" + AUDIO
    choice = chosen(lines)
    assert (choice.index, choice.remote.host, choice.direction, choice.ptime) == (1, "192.0.2.1", "sendonly", 20)


@pytest.mark.parametrize(
    ("attributes", "ptime"),
    [
        ("", 20), ("a=ptime:30\n", 30), ("a=ptime:20.0\n", 20), ("a=ptime: 40 \n", 40), ("a=ptime:1\n", 10),
        ("a=ptime:500\n", 120), ("a=ptime:0\n", 20), ("a=ptime:-20\n", 20), ("a=ptime:²\n", 20), ("a=ptime\n", 20),
        ("a=ptime:25\n", 20), ("a=maxptime:15\n", 10),
        ("a=maxptime:10\n", 10), ("a=ptime:60\na=maxptime:40\n", 40), ("a=ptime:9999999999\n", 20),
    ],
)  # fmt: skip
def test_packets_are_as_long_as_the_offer_wants(attributes: str, ptime: int) -> None:
    assert chosen(AUDIO + attributes).ptime == ptime


# -- formats (RFC 7088 §2.8) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "payload_type"),
    [
        ("m=audio 4000 RTP/AVP 18 0\n", 0),
        ("m=audio 4000 RTP/AVP 96 0\na=rtpmap:96 PCMU/8000\n", 96),
        ("m=audio 4000 RTP/AVP 96\na=rtpmap:96 pcmu/8000/1\n", 96),
        ("m=audio 4000 RTP/AVP 0 100\na=rtpmap:0 G729/8000\na=rtpmap:100 PCMU/8000\n", 100),
        ("m=audio 4000 RTP/AVP 92 90 0\na=rtpmap:92 x-reserved/8000\na=rtpmap:90 x-reserved/8000\n", 0),
        ("m=audio 4000 RTP/AVP 97 96 0\na=rtpmap:97 PCMU/16000\na=rtpmap:96 PCMU/8000/2\n", 0),
        ("m=audio 4000 RTP/AVP 0\na=rtpmap:0\na=rtpmap:\na=fmtp:0 x\na=\n", 0),
    ],
)
def test_the_first_format_of_ours_is_taken_under_the_number_of_the_offer(lines: str, payload_type: int) -> None:
    assert (chosen(lines).codec, chosen(lines).payload_type) == (PCMU, payload_type)
    assert answer(lines)[:2] == [f"m=audio 10000 RTP/AVP {payload_type}", f"a=rtpmap:{payload_type} PCMU/8000"]


@pytest.mark.parametrize(
    ("formats", "rtpmap", "encoding"),
    [
        ("8 0", "", "PCMA/8000"),
        ("9 8 0", "", "G722/8000"),
        ("125 0", "a=rtpmap:125 OPUS/48000/2\n", "opus/48000/2"),
        ("125 0", "a=rtpmap:125 opus/48000\n", "PCMU/8000"),
    ],
)
def test_the_order_of_the_offer_counts_not_ours(formats: str, rtpmap: str, encoding: str) -> None:
    number = "0" if encoding == "PCMU/8000" else formats.split()[0]
    assert answer(f"m=audio 4000 RTP/AVP {formats}\n{rtpmap}")[:2] == [
        f"m=audio 10000 RTP/AVP {number}",
        f"a=rtpmap:{number} {encoding}",
    ]


def test_a_codec_may_know_only_some_lengths_of_packets() -> None:
    lines = "m=audio 4000 RTP/AVP 125\na=rtpmap:125 opus/48000/2\n"
    assert [chosen(f"{lines}a=ptime:{ptime}\n").ptime for ptime in (5, 10, 30, 60, 120)] == [10, 10, 20, 60, 60]


@pytest.mark.parametrize("formats", ["18 101", "128", "-0", "²", "٠", "x", "96"])
def test_no_format_of_ours_is_488_with_a_warning(formats: str) -> None:
    assert warning(f"m=audio 4000 RTP/AVP {formats}\n").startswith('305 moh "formats are ')


# -- what is no session description --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "v=1\n", "hello\n", "o=-\nv=0\n", START + "nonsense\n", START + "=x\n", START + "aa=x\n",
        START + "m=audio\n", START + "m=audio 4000 RTP/AVP\n", START + "m=audio 65536 RTP/AVP 0\n",
        START + "m=audio -1 RTP/AVP 0\n", START + "m=audio ² RTP/AVP 0\n", START + "m=audio /2 RTP/AVP 0\n",
        START + "c=IN IP4\n", START + "c=IN IP7 x\n", START + "m=audio 4\x1b[2J RTP/AVP 0\n",
        START + "m=audio 4000 RTP/AVP" + " 0" * 129, START + AUDIO * 33, START + "a=x\n" * 996,
    ],
)  # fmt: skip
def test_what_is_no_session_description_is_400(text: str) -> None:
    found = refusal(text, "")
    assert found.status == 400 and found.why.isprintable() and len(found.why) < 200


def test_as_much_as_anybody_needs_is_read() -> None:
    assert chosen(START + AUDIO * 32 + "a=x\n" * 963, "").index == 0
    assert chosen("m=audio 4000 RTP/AVP" + " 18" * 127 + " 0\n").payload_type == 0


def test_lines_that_do_not_matter_are_passed_over() -> None:
    start = "v=0\no=\ns=\ni=x\nu=x\ne=x\np=x\nb=AS:64\nz=0\nk=x\nt=0 0\nr=x\nc=IN IP4 192.0.2.1\n"
    assert chosen(AUDIO + "i=x\nb=TIAS:64000\nk=clear:x\na=candidate:1 1 UDP\n", start).playing


# -- what we write -------------------------------------------------------------------------------------------------


def test_the_times_of_the_offer_come_back() -> None:
    offer = session(START.replace("t=0 0", "t=3149328700 0\nt=1 2") + AUDIO)
    text = write_answer(offer, choose(offer), OURS, 7, 1)
    assert b"\r\nt=3149328700 0\r\nt=1 2\r\nm=" in text


def test_our_own_offer_says_that_we_only_send() -> None:
    assert write_offer(Side(Address("2001:db8::9", 10000), 10001), 7, 3).decode().split("\r\n") == [
        "v=0", "o=- 7 3 IN IP6 2001:db8::9", "s=-", "c=IN IP6 2001:db8::9", "t=0 0",
        "m=audio 10000 RTP/AVP 0 8 9 96", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:9 G722/8000",
        "a=rtpmap:96 opus/48000/2", "a=ptime:20", "a=sendonly", "",
    ]  # fmt: skip


# -- whatever comes ------------------------------------------------------------------------------------------------

LINES = st.sampled_from([
    "m=audio 4000 RTP/AVP 0", "m=video 0 x 1", "c=IN IP4 192.0.2.7", "c=IN IP6 ::1", "a=rtpmap:0 PCMU/8000",
    "a=sendonly", "a=ptime:20", "a=rtcp:5 IN IP4 1.2.3.4", "t=0 0", "m=audio 4000/2 RTP/AVP 96",
    "a=rtpmap:96 PCMU/8000", "m=audio 4000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x", "c=IN IP4 phone",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES | st.text(max_size=12), max_size=12))
def test_whatever_comes_is_answered_or_refused(lines: list[str]) -> None:
    try:
        offer = parse_sdp("\n".join([START, *lines]).encode("utf-8", "surrogatepass"))
        choice = choose(offer)
    except Refusal as refused:
        assert refused.status in (400, 488) and refused.why.isprintable()
        return
    again = parse_sdp(write_answer(offer, choice, OURS, 7, 1))
    assert len(again.media) == len(offer.media)
    assert [index for index, media in enumerate(again.media) if media.port] == [choice.index]
