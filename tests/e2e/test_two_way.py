"""End to end: with MOH_DIRECTION=sendrecv a PBX is answered with sendrecv, and what it sends is ignored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conftest import StartServer
from tests.support.phone import Ear, Message, Phone, has_no_gap, is_music, offer
from tests.support.running import Running

ENGINES = pytest.mark.parametrize("ffmpegs", ["50", "0"], ids=["ffmpeg", "shared stream"])
SPEECH = b"\x80\x00" + bytes(10) + b"\x55" * 160


@contextmanager
def speaking(ear: Ear, answer: Message) -> Iterator[None]:
    """Send RTP to where the music comes from, in packets of 20 ms, as a PBX does that was answered with sendrecv."""
    stopped = threading.Event()

    def speak() -> None:
        while not stopped.wait(0.02):
            ear.send_rtp(SPEECH, answer.media)

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def two_way_server(start_server: StartServer, ffmpegs: str) -> Running:
    return start_server(MOH_DIRECTION="sendrecv", MOH_FFMPEG_CALLS=ffmpegs).ready()


def direction(message: Message) -> str:
    (found,) = (line for line in message.body.split("\r\n") if line in ("a=sendrecv", "a=sendonly", "a=inactive"))
    return found


@ENGINES
def test_the_music_plays_while_the_pbx_speaks_and_hold_stops_it(
    start_server: StartServer, held: Ear, ffmpegs: str
) -> None:
    server = two_way_server(start_server, ffmpegs)
    with Phone(server.address) as pbx:
        answer = pbx.call_with(offer(held.address, "a=sendrecv"))
        assert direction(answer) == "a=sendrecv"
        with speaking(held, answer):
            heard = held.packets(100)
        assert has_no_gap(heard) and is_music(heard)
        assert direction(pbx.call_with(offer(held.address, "a=sendonly"))) == "a=inactive"
        assert held.falls_silent()
        answer = pbx.call_with(offer(held.address, "a=sendrecv"))
        assert direction(answer) == "a=sendrecv"
        with speaking(held, answer):
            heard = held.packets(25)
        assert has_no_gap(heard) and is_music(heard)
        assert direction(pbx.call_with(offer(held.address, "a=recvonly"))) == "a=sendonly"
        assert held.packets(25)
        assert pbx.bye().status == 200
        assert held.falls_silent()


@ENGINES
def test_an_invite_without_offer_gets_sendrecv_and_its_answer_gets_music(
    start_server: StartServer, held: Ear, ffmpegs: str
) -> None:
    server = two_way_server(start_server, ffmpegs)
    with Phone(server.address) as pbx:
        answer = pbx.ask(pbx.invite(None))
        assert direction(answer) == "a=sendrecv"
        pbx.accept(answer, offer(held.address, "a=sendrecv", formats="0"))
        with speaking(held, answer):
            assert has_no_gap(held.packets(50))
        assert pbx.bye().status == 200
        assert held.falls_silent()
