"""What owners paste: the message in it, and its way, are found in whatever form."""

from __future__ import annotations

import random
import time

import pytest

from moh.common.actions import Address
from moh.server.pasted import MOST_OCTETS, Unreadable, read_paste
from moh.sip.message import Request
from moh.sip.parser import parse
from tests.support.pastes import INVITE, NAMES_ITS_SOURCE, OUR_LOG, PASTES


@pytest.mark.parametrize("form", PASTES)
def test_the_same_message_is_found_in_each_form(form: str) -> None:
    found = parse(read_paste(PASTES[form]).data)
    wire = parse(INVITE)
    assert isinstance(found, Request) and isinstance(wire, Request)
    assert found.fault is None
    assert found.headers == wire.headers
    assert found.body.split() == wire.body.split()


@pytest.mark.parametrize("form", PASTES)
def test_lines_around_it_say_from_where_it_came(form: str) -> None:
    way = read_paste(PASTES[form]).way
    assert way.source == (Address("192.168.1.50", 5062) if form in NAMES_ITS_SOURCE else None)
    if form in ("sngrep", "tcpdump -A", "Wireshark"):
        assert way.to == Address("192.168.1.100", 5060)


def test_the_transport_is_that_of_the_log() -> None:
    assert read_paste(OUR_LOG.replace("by UDP", "by TLS").encode()).way.transport == "TLS"


def test_an_invite_of_the_server_itself_is_passed_over() -> None:
    ours = OUR_LOG.replace("< from", "> to", 1).replace("Front desk", "the server's own")
    assert b"the server's own" not in read_paste((ours + OUR_LOG).encode()).data
    assert b"the server's own" in read_paste(ours.encode()).data, "without another one"


def test_a_key_that_the_log_leaves_out_is_made_up() -> None:
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:(a key)"
    data = read_paste(OUR_LOG.replace("    a=recvonly", f"    a=recvonly\n    {key}").encode()).data
    assert b"inline:" + b"x" * 40 + b"\r\n" in data
    request = parse(data)
    assert isinstance(request, Request) and request.fault is None and request.body.endswith(b"a=fmtp:101 0-15\r\n")


def test_spaces_that_the_pasting_has_removed_change_the_length_a_bit() -> None:
    text = INVITE.replace(b"\r\n", b"\n").replace(b":   306", b": 310")
    found = read_paste(text)
    assert found.length_was == "310" and b"Content-Length: 306\r\n" in found.data


def test_a_message_that_lacks_much_stays_as_it_is() -> None:
    request = parse(read_paste(INVITE[:-80].replace(b"\r\n", b"\n")).data)
    assert isinstance(request, Request) and request.fault is not None
    assert request.fault.why.startswith("Content-Length is 306, but only 2")


def test_a_body_that_is_longer_than_its_length_ends_there() -> None:
    found = read_paste(INVITE.replace(b"\r\n", b"\n").replace(b":   306", b": 0"))
    request = parse(found.data)
    assert isinstance(request, Request) and request.body == b"" and found.length_was == ""


def test_a_session_description_alone_gets_an_invite_around_it() -> None:
    for text in (INVITE.partition(b"\r\n\r\n")[2], b"my phone:\n" + INVITE.partition(b"\r\n\r\n")[2] + b"\nwhy?"):
        found = read_paste(text)
        request = parse(found.data)
        assert found.bare and found.way.guess == "192.168.1.50"
        assert isinstance(request, Request) and request.fault is None
        assert request.body == INVITE.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \r\n\t\n", "empty"),
        (b"hello\n", "no message"),
        (b"v=0\n", "no message"),
        (b"\x0a\x0d\x0d\x0a" + INVITE, "capture"),
        (b"\xd4\xc3\xb2\xa1" + INVITE, "capture"),
        (b"\x4d\x3c\xb2\xa1" + bytes(100), "capture"),
        (b"\x1f\x8b\x08" + random.Random(7).randbytes(1000), "binary"),
        (bytes(1000), "binary"),
        (b"\xff\xfe\x00", "no message"),
        (INVITE * (MOST_OCTETS // len(INVITE) + 1), "too long"),
        (b"x" * (MOST_OCTETS + 1), "too long"),
        (b"{\"sip\": 7}\n{\"sip\n", "no message"),
        pytest.param(b"{\"sip\": " + b"[" * 100_000, "no message", id="brackets"),
    ],
)  # fmt: skip
def test_what_has_no_message_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as found:
        read_paste(data)
    assert found.value.reason == reason


@pytest.mark.parametrize("junk", ["a", "1:", "1.", "IP a."])
def test_a_long_line_before_the_message_takes_little_time(junk: str) -> None:
    """A search that begins at each of its characters anew would take minutes."""
    begin = time.process_time()
    assert parse(read_paste(junk.encode() * 20_000 + b"\n" + INVITE).data) is not None
    assert time.process_time() - begin < 2.0


def test_no_paste_raises_anything_else() -> None:
    numbers = random.Random(7)
    texts = list(PASTES.values())
    for _ in range(1000):
        text = bytearray(numbers.choice(texts))
        for _ in range(numbers.randrange(1, 30)):
            place = numbers.randrange(len(text))
            text[place : place + numbers.randrange(4)] = numbers.randbytes(numbers.randrange(3))
        try:
            parse(read_paste(bytes(text)).data)
        except Unreadable:
            pass
