"""Writing answers and offers (RFC 3264, RFC 8866, RFC 3605)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moh.common.actions import Address
from moh.common.codecs import PCMU
from moh.common.errors import Refusal
from moh.sdp.description import parse_sdp
from moh.sdp.offer_answer import Choice, choose
from moh.sdp.writer import Side, write_answer, write_offer
from moh.sip.message import Request
from moh.sip.parser import parse
from tests.support.offers import AUDIO, SIDE, START, answer, chosen, session

WIRE = Path(__file__).parent.parent / "wire"


def test_the_answer_to_the_offer_of_a_dp750() -> None:
    message = parse((WIRE / "dp750_invite.sip").read_bytes())
    assert isinstance(message, Request)
    offer = parse_sdp(message.body)
    assert choose(offer) == Choice(
        place=0,
        remote=Address("203.0.113.20", 17422),
        remote_rtcp=Address("203.0.113.20", 17423),
        codec=PCMU,
        payload_type=0,
        ptime=20,
        direction="sendonly",
    )
    assert write_answer(offer, choose(offer), SIDE, 7, 2).decode().split("\r\n") == [
        "v=0", "o=- 7 2 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0",
        "m=audio 10000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendonly", "",
    ]  # fmt: skip


def test_each_stream_is_answered_in_its_place() -> None:
    lines = (
        "m=video 4002 RTP/AVP 31 34\n"
        "m=audio 4004 RTP/SAVP 0\na=crypto:1 x\n"
        "m=audio 4000/2 RTP/AVPF 0 8\n"
        "m=audio 4006 RTP/AVP 0\n"
        "m=audio 0 RTP/AVP 0\n"
        "m=image 4008 udptl t38\n"
    )
    assert chosen(lines).remote == Address("192.0.2.1", 4000)
    assert answer(lines) == [
        "m=video 0 RTP/AVP 31",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 10000 RTP/AVPF 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendonly",
        "m=audio 0 RTP/AVP 0",
        "m=audio 0 RTP/AVP 0",
        "m=image 0 udptl t38",
    ]  # fmt: skip


def test_the_answer_repeats_the_times_of_the_offer() -> None:
    offer = session(START.replace("t=0 0", "t=3149328700 0\nt=1 2") + AUDIO)
    text = write_answer(offer, choose(offer), SIDE, 7, 1)
    assert b"\r\nt=3149328700 0\r\nt=1 2\r\nm=" in text


def test_an_offer_has_all_codecs_and_is_sendonly() -> None:
    assert write_offer(Side(Address("2001:db8::9", 10000), 10001), 7, 3).decode().split("\r\n") == [
        "v=0", "o=- 7 3 IN IP6 2001:db8::9", "s=-", "c=IN IP6 2001:db8::9", "t=0 0",
        "m=audio 10000 RTP/AVP 0 8 9 96", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:9 G722/8000",
        "a=rtpmap:96 opus/48000/2", "a=ptime:20", "a=sendonly", "",
    ]  # fmt: skip


def test_the_first_supported_key_line_is_answered_with_the_servers_key() -> None:
    offer = session(
        START + "m=audio 4000 RTP/SAVP 0\na=crypto:1 F8_128_HMAC_SHA1_80 inline:a\n"
        "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:b UNENCRYPTED_SRTP\n"
        "a=crypto:3 aes_cm_128_hmac_sha1_32 inline:c|2^20|1:4\na=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:d\n"
    )
    text = write_answer(offer, choose(offer), SIDE, 7, 1).decode()
    assert "m=audio 10000 RTP/SAVP 0\r\n" in text
    assert text.endswith("a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:server-key\r\n")


@pytest.mark.parametrize(("port", "expected"), [(10001, []), (10000, ["a=rtcp:10000"]), (10100, ["a=rtcp:10100"])])
def test_a_rtcp_names_the_port_of_rtcp_unless_it_is_the_next_one(port: int, expected: list[str]) -> None:
    """RFC 3605 §2.1, in answers and in offers."""
    offer, side = session(START + AUDIO), Side(SIDE.local, port)
    for text in (write_answer(offer, choose(offer), side, 7, 1), write_offer(side, 7, 1)):
        assert [line for line in text.decode().split("\r\n") if line.startswith("a=rtcp:")] == expected


LINES = st.sampled_from([
    "m=audio 4000 RTP/AVP 0", "m=video 0 x 1", "c=IN IP4 192.0.2.7", "c=IN IP6 ::1", "a=rtpmap:0 PCMU/8000",
    "a=sendonly", "a=ptime:20", "a=rtcp:5 IN IP4 1.2.3.4", "t=0 0", "m=audio 4000/2 RTP/AVP 96",
    "a=rtpmap:96 PCMU/8000", "m=audio 4000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x", "c=IN IP4 phone",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES | st.text(max_size=12), max_size=12))
def test_any_text_is_answered_or_refused(lines: list[str]) -> None:
    try:
        offer = parse_sdp("\n".join([START, *lines]).encode("utf-8", "surrogatepass"))
        choice = choose(offer)
    except Refusal as refused:
        assert refused.status in (400, 488) and refused.why.isprintable()
        return
    written = parse_sdp(write_answer(offer, choice, SIDE, 7, 1))
    assert len(written.media) == len(offer.media)
    assert [index for index, media in enumerate(written.media) if media.port] == [choice.place]
