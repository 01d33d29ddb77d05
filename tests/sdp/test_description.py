"""Parsing session descriptions (RFC 8866)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address
from moh.sdp.description import parse_sdp
from moh.sdp.offer_answer import choose
from tests.support.offers import AUDIO, START, chosen, refusal


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r", "\n\n", " \r\n"])
def test_any_line_ends_are_accepted(ends: str) -> None:
    offer = parse_sdp((START + AUDIO).replace("\n", ends).encode())
    assert choose(offer).remote == Address("192.0.2.1", 4000)


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
def test_anything_but_a_session_description_is_400(text: str) -> None:
    found = refusal(text, "")
    assert found.status == 400 and found.why.isprintable() and len(found.why) < 200


def test_a_description_of_the_largest_size_is_accepted() -> None:
    assert chosen(START + AUDIO * 32 + "a=x\n" * 963, "").index == 0
    assert chosen("m=audio 4000 RTP/AVP" + " 18" * 127 + " 0\n").payload_type == 0


def test_other_lines_and_attributes_are_ignored() -> None:
    start = "v=0\no=\ns=\ni=x\nu=x\ne=x\np=x\nb=AS:64\nz=0\nk=x\nt=0 0\nr=x\nc=IN IP4 192.0.2.1\n"
    assert chosen(AUDIO + "i=x\nb=TIAS:64000\nk=clear:x\na=candidate:1 1 UDP\n", start).playing


def test_the_attributes_of_the_session_are_the_defaults_of_each_stream() -> None:
    start = START + "a=inactive\na=ptime:30\na=maxptime:40\n"
    assert (chosen(start=start).direction, chosen(start=start).ptime) == ("inactive", 30)
    assert chosen(AUDIO + "a=ptime:60\n", start).ptime == 40
    own = chosen(AUDIO + "c=IN IP4 192.0.2.2\na=recvonly\na=ptime:10\n", start)
    assert (own.direction, own.ptime, own.remote.host) == ("sendonly", 10, "192.0.2.2")


def test_the_attributes_of_one_stream_do_not_hold_for_the_next() -> None:
    lines = "m=video 4002 RTP/AVP 31\nc=IN IP4 192.0.2.3\na=inactive\na=ptime:60\na=rtpmap:0 X/8000\n" + AUDIO
    choice = chosen(lines)
    assert (choice.index, choice.remote.host, choice.direction, choice.ptime) == (1, "192.0.2.1", "sendonly", 20)
