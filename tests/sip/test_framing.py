"""Messages cut out of a stream (RFC 3261 §18.3)."""

from __future__ import annotations

from typing import Optional

import pytest

from moh.sip import framing
from moh.sip.framing import PING, Framer

OPTIONS = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n"
INVITE = b"INVITE sip:a@b SIP/2.0\r\nl: 5\r\n\r\nv=0\r\n"


def test_two_messages_in_one_piece() -> None:
    assert Framer().feed(OPTIONS + INVITE) == [OPTIONS, INVITE]


def test_one_message_octet_by_octet() -> None:
    framer = Framer()
    pieces = [piece for octet in INVITE for piece in framer.feed(bytes([octet]))]
    assert pieces == [INVITE]
    assert not framer.unfinished


def test_part_of_a_message_waits_for_the_rest() -> None:
    framer = Framer()
    assert framer.feed(INVITE[:-1]) == []
    assert framer.unfinished
    assert framer.feed(INVITE[-1:] + OPTIONS[:4]) == [INVITE]
    assert framer.unfinished


def test_a_message_without_a_length_has_no_body() -> None:
    head = b"OPTIONS sip:a@b SIP/2.0\r\nTo: x\r\n\r\n"
    assert Framer().feed(head + OPTIONS) == [head, OPTIONS]


def test_line_feeds_alone_end_a_head_too() -> None:
    bare = INVITE.replace(b"\r\n", b"\n").replace(b"l: 5", b"l: 4")
    assert Framer().feed(bare + OPTIONS) == [bare, OPTIONS]


def test_a_double_crlf_is_a_ping_and_a_single_one_is_ignored() -> None:
    framer = Framer()
    assert framer.feed(b"\r\n\r\n") == [PING]
    assert framer.feed(b"\r\n" + OPTIONS) == [OPTIONS]
    assert framer.feed(b"\r\n") == []
    assert framer.feed(b"\r\n") == [PING]


def test_keep_alives_in_a_row_are_one_piece_however_they_come() -> None:
    assert Framer().feed(5 * PING + b"\r\n" + OPTIONS + b"\r\n") == [5 * PING, OPTIONS]
    framer = Framer()
    pieces = [piece for octet in 5 * PING + b"\n\r" + PING for piece in framer.feed(bytes([octet]))]
    assert b"".join(pieces) == 6 * PING


def test_white_space_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Framer] = []

    def cut(framer: Framer) -> Optional[bytes]:
        looks.append(framer)
        return look(framer)

    look = Framer._cut
    monkeypatch.setattr(Framer, "_cut", cut)
    framer = Framer()
    for nothing in (b"\r" * 65536, b"\n\r" * 32768, PING * 16384):
        assert b"".join(framer.feed(nothing)).replace(PING, b"") == b""
    assert len(looks) < 10
    assert framer.feed(OPTIONS) == [OPTIONS]


class Watched(bytearray):
    """Octets that count how many of them are searched."""

    looked_at = 0

    def find(self, mark: object, start: object = 0, stop: object = None) -> int:
        first, last = int(str(start)), len(self) if stop is None else min(int(str(stop)), len(self))
        at = super().find(mark, first, last)  # type: ignore[arg-type]
        self.looked_at += (last if at < 0 else at) - first
        return at


@pytest.mark.parametrize("short", [b"a\n\n", b"a\n\r\n", b"a\r\n\r\n"])
def test_many_short_heads_at_once_cost_no_more_than_one_by_one(short: bytes) -> None:
    """Otherwise 64 KB of them, which any source may send, would delay all others for seconds."""
    framer, octets = Framer(), Watched()
    framer._held = octets
    count = 65536 // len(short)
    assert len(framer.feed(count * short)) == count
    assert octets.looked_at < 3 * 512 * count


def test_the_end_of_a_head_is_found_at_any_position() -> None:
    for end in (b"\n\n", b"\n\r\n", b"\r\n\r\n"):
        for length in [*range(500, 530), *range(1520, 1550), 9000]:
            head = b"a" * length + end
            assert Framer().feed(head + OPTIONS) == [head, OPTIONS], (end, length)


def test_a_head_is_parsed_once_while_its_body_comes_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []

    def read(head: bytes) -> int:
        reads.append(head)
        return declared(head)

    declared = framing.declared_length
    monkeypatch.setattr(framing, "declared_length", read)
    framer = Framer()
    assert [piece for octet in 2 * INVITE for piece in framer.feed(bytes([octet]))] == [INVITE, INVITE]
    assert len(reads) == 2


@pytest.mark.parametrize("length", [b"-1", b"many", b"", b"1\r\nContent-Length: 2", b"9999999999"])
def test_a_message_that_cannot_be_cut_is_the_last_one(length: bytes) -> None:
    framer = Framer()
    faulty = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: " + length + b"\r\n\r\n"
    assert framer.feed(faulty) == [faulty]
    assert framer.broken
    assert framer.feed(OPTIONS) == []


def test_a_message_that_is_too_long_breaks_the_stream() -> None:
    framer = Framer()
    framer.feed(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 65535\r\n\r\n")
    assert framer.broken
    framer = Framer()
    framer.feed(b"X" * 65536)
    assert framer.broken


def test_a_broken_stream_keeps_nothing() -> None:
    framer = Framer()
    assert framer.feed(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: lots\r\n\r\n")
    assert framer.broken
    for _ in range(3):
        assert framer.feed(b"x" * 1000) == []
    assert not framer.unfinished


def test_half_a_keep_alive_is_no_unfinished_message() -> None:
    framer = Framer()
    assert framer.feed(b"\r\n") == [] and not framer.unfinished
    assert framer.feed(b"O") == [] and framer.unfinished
