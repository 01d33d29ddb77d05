"""Parsing session descriptions (RFC 8866)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address
from moh.sdp.description import UNREADABLE, parse_sdp
from moh.sdp.offer_answer import choose
from tests.support.offers import AUDIO, START, chosen, refusal, session, warning


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r", "\n\n", " \r\n"])
def test_any_line_ends_are_accepted(ends: str) -> None:
    offer = parse_sdp((START + AUDIO).replace("\n", ends).encode())
    assert choose(offer).remote == Address("192.0.2.1", 4000)


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "\0", "v=1\n", "hello\n", "o=-\nv=0\n",
        START + "m=audio\n", START + "m=audio 4000 RTP/AVP\n", START + "m=audio 65536 RTP/AVP 0\n",
        START + "m=audio -1 RTP/AVP 0\n", START + "m=audio ² RTP/AVP 0\n", START + "m=audio /2 RTP/AVP 0\n",
        START + "c=IN IP4\n" + AUDIO, START + "c=IN IP7 x\n" + AUDIO, START + AUDIO + "c=TN RFC2543 x\n",
        START + "m=audio 4\x1b[2J RTP/AVP 0\n", START + AUDIO * 33, START + "a=x\n" * 996,
    ],
)  # fmt: skip
def test_what_is_no_session_description_or_has_unreadable_audio_only_is_400(text: str) -> None:
    found = refusal(text, "")
    assert found.status == 400 and found.why.isprintable() and len(found.why) < 200


def test_the_refusal_of_what_is_no_description_shows_no_key() -> None:
    found = refusal("k=clear:SECRET\n" + START + AUDIO, "")
    assert found.status == 400 and "'k=c'" in found.why and "SECRET" not in found.why


def test_a_description_of_the_largest_size_is_accepted() -> None:
    assert chosen(START + AUDIO * 32 + "a=x\n" * 963, "").place == 0
    assert chosen("m=audio 4000 RTP/AVP" + " 18" * 127 + " 0\n").payload_type == 0
    assert warning("m=audio 4000 RTP/AVP" + " 18" * 128 + " 0\n").startswith("305 "), "the 129th format is not read"


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
    assert (choice.place, choice.remote.host, choice.direction, choice.ptime) == (1, "192.0.2.1", "sendonly", 20)


@pytest.mark.parametrize("line", ["nonsense", "=x", "aa=x", "m", "c", "--boundary--", "\0", " \t "])
@pytest.mark.parametrize("where", ["{line}\n{audio}", "{audio}{line}\n", "{audio}{line}"])
def test_a_line_that_is_no_letter_and_value_is_ignored(line: str, where: str) -> None:
    assert chosen(where.format(line=line, audio=AUDIO)).remote == Address("192.0.2.1", 4000)


@pytest.mark.parametrize("text", ["a=inactive\0", "a=inactive\0\0\0\r\n", "a=\0a=inactive", "\0a=inactive\n"])
def test_nul_ends_a_line(text: str) -> None:
    assert chosen(AUDIO + text).direction == "inactive"


@pytest.mark.parametrize(
    "line",
    ["c=IN IP4 192.0.2.7 and words", "c=IN\tIP4\t192.0.2.7", "c=in ip4 192.0.2.7", "c= IN  IP4  192.0.2.7/127 x"],
)
def test_words_behind_an_address_are_ignored(line: str) -> None:
    assert chosen(f"{AUDIO}{line}\n").remote.host == "192.0.2.7"


@pytest.mark.parametrize("line", ["c=", "c=IN IP4", "c=IN IP7 x", "c=TN RFC2543 +1-201-406-4090"])
def test_an_unreadable_connection_of_the_session_is_replaced_by_that_of_the_stream(line: str) -> None:
    start = START.replace("c=IN IP4 192.0.2.1", line)
    assert chosen(f"{AUDIO}c=IN IP4 192.0.2.7\n", start).remote.host == "192.0.2.7"
    found = refusal(AUDIO, start)
    assert found.status == 400 and found.why == f"SDP has {line!r}; expected 'c=IN IP4 <address>'"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("m=audio 4000 RTP/AVP 0 8", ("audio", 4000, "RTP/AVP", ["0", "8"])),
        ("m=AUDIO\t4000/2\tRTP/AVP\t0", ("audio", 4000, "RTP/AVP", ["0"])),
        ("m=audio 0 RTP/AVP", ("audio", 0, "RTP/AVP", [])),
        ("m=application 0 *", ("application", 0, "*", [])),
        ("m=video 70000 RTP/AVP 31", ("video", UNREADABLE, "RTP/AVP", ["31"])),
        ("m=video $ RTP/AVP 31", ("video", UNREADABLE, "RTP/AVP", ["31"])),
        ("m=", ("", UNREADABLE, "", [])),
        (f"m={'k' * 99} 1 {'p' * 99} {'f' * 99}", ("k" * 64, 1, "p" * 64, ["f" * 64])),
        ("m=" + "é" * 99 + " 1 x 0", ("é" * 32, 1, "x", ["0"])),
    ],
)
def test_each_m_line_is_kept_with_words_of_at_most_64_octets(line: str, kept: tuple[str, int, str, list[str]]) -> None:
    (media,) = session(f"{START}{line}\n").media
    assert (media.kind, media.port, media.protocol, media.formats) == kept


def test_more_or_longer_t_lines_are_left_out() -> None:
    assert session(START + "t=1 2\n" * 9).times == ["0 0", *["1 2"] * 7]
    assert session(START + f"t={'1' * 65}\nt={'2' * 64}\n").times == ["0 0", "2" * 64]
