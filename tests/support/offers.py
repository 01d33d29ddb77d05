"""Offers for the tests of SDP, and the choice, the answer or the refusal that follows from an offer."""

from __future__ import annotations

import pytest

from moh.common.actions import Address
from moh.common.errors import Refusal
from moh.sdp.description import SessionDescription, parse_sdp
from moh.sdp.offer_answer import Choice, choose
from moh.sdp.writer import Side, write_answer

SIDE = Side(Address("192.0.2.9", 10000), 10001, "server-key")
START = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"
AUDIO = "m=audio 4000 RTP/AVP 0\n"


def session(text: str) -> SessionDescription:
    return parse_sdp(text.replace("\n", "\r\n").encode())


def chosen(lines: str = AUDIO, start: str = START) -> Choice:
    return choose(session(start + lines))


def refusal(lines: str = AUDIO, start: str = START) -> Refusal:
    with pytest.raises(Refusal) as caught:
        chosen(lines, start)
    return caught.value


def warning(lines: str, start: str = START) -> str:
    """Return the Warning in the 488 to an offer of ``start`` and ``lines``."""
    found = refusal(lines, start)
    assert found.status == 488 and [name for name, _ in found.headers] == ["Warning"]
    return found.headers[0][1]


def answer(lines: str, start: str = START) -> list[str]:
    """Return the answer to an offer of ``start`` and ``lines``, from its first m= line on."""
    offer = session(start + lines)
    text = write_answer(offer, choose(offer), SIDE, 7, 1).decode()
    return text[text.index("m=") :].rstrip("\r\n").split("\r\n")
