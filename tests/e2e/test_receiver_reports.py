"""End to end: the RTCP reports of the held party reach the log, the warnings and the list of calls."""

from __future__ import annotations

import re
import signal
import time

import pytest

from conftest import StartServer
from moh.ffmpeg.launch import encoders
from tests.support.phone import Ear, Message, Packet, Phone, offer
from tests.support.rtcp import block, receiver_report
from tests.support.running import Address, Running, wait_for

ENGINES = pytest.mark.parametrize("ffmpegs", ["50", "0"], ids=["ffmpeg", "shared stream"])


def rtcp_of(answer: Message) -> Address:
    """Return where ``answer`` wants RTCP: at its ``a=rtcp``, or at the port above that of RTP (RFC 3605)."""
    host, port = answer.media
    named = re.search(r"^a=rtcp:(\d+)", answer.body, re.MULTILINE)
    return host, int(named[1]) if named else port + 1


def about(heard: Packet, lost: int = 0, jitter: int = 0) -> bytes:
    """Return a report by which ``heard`` is the latest packet."""
    return receiver_report(block(heard.ssrc, 0, lost, heard.sequence, jitter))


def end_of_call(server: Running, phone: Phone) -> str:
    """End the call, and return what the log says of it."""
    phone.bye()
    return server.says("BYE from the caller").rpartition("ended after")[2].partition("\n")[0]


def until_read(server: Running, expected: str) -> str:
    """Ask for the list of calls until a line holds ``expected``. Return that line."""

    def found() -> str:
        server.process.send_signal(signal.SIGUSR1)
        time.sleep(0.1)
        return next((line for line in server.log.splitlines() if expected in line), "")

    return wait_for(found, f"{expected!r} in the list of calls:\n{server.log[-2000:]}")


@ENGINES
@pytest.mark.parametrize(("formats", "clock_rate"), [("0", 8000), ("9", 8000), ("96", 48_000)])
def test_the_end_of_a_call_and_the_list_say_what_the_held_party_reported(
    start_server: StartServer, held: Ear, ffmpegs: str, formats: str, clock_rate: int
) -> None:
    if formats == "96" and "libopus" not in encoders():
        pytest.skip("this ffmpeg has no Opus")
    server = start_server(MOH_FFMPEG_CALLS=ffmpegs).ready()
    with Phone(server.address) as phone, Ear("127.0.0.3") as other:
        answer = phone.call_with(offer(held.address, "a=recvonly", "a=rtpmap:96 opus/48000/2", formats=formats))
        heard = held.packets(100)
        other.send_rtcp(about(heard[-1], lost=50), rtcp_of(answer))
        held.send_rtcp(about(heard[-1], lost=2, jitter=clock_rate * 7 // 1000), rtcp_of(answer))
        line = until_read(server, "the receiver reported 2.0 % lost, jitter 7 ms (")
        codec = {"0": "PCMU", "9": "G722", "96": "opus"}[formats]
        engine = "shared stream" if ffmpegs == "0" else "ffmpeg"
        to, port = ":".join(map(str, held.address)), answer.media[1]
        assert (
            f"'201@127.0.0.1' at 127.0.0.1:{phone.address[1]}; {codec} to {to} from port {port} by {engine}; " in line
        )
        assert bool(re.search(r"; \d+ packets sent; ", line)) == (ffmpegs == "0")
        assert "; the receiver reported 2.0 % lost, jitter 7 ms" in end_of_call(server, phone)


def test_without_rtcp_and_with_srtp_the_end_of_a_call_says_so(start_server: StartServer, held: Ear) -> None:
    server = start_server().ready()
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
    for body, expected in (
        (offer(held.address), "BYE from the caller; no report from the receiver"),
        (
            offer(held.address, "a=recvonly", key, formats="0").replace("RTP/AVP", "RTP/SAVP"),
            "BYE from the caller; the receiver's reports are encrypted (SRTP)",
        ),
    ):
        with Phone(server.address) as phone:
            phone.call_with(body)
            assert held.raw()
            wait_for(lambda: server.log.count("answered "), "the call")
            time.sleep(1.0)  # music of no full second would be "music for 0 s"
            phone.bye()
            server.says(expected)


def test_a_held_party_that_reports_that_nothing_arrives_has_one_warning(start_server: StartServer, held: Ear) -> None:
    """The first call has an ffmpeg, and its reports name no packet. The second has the shared stream."""
    server = start_server(MOH_FFMPEG_CALLS="1").ready()
    with Phone(server.address) as ann, Phone(server.address, "127.0.0.4") as bob, Ear("127.0.0.3") as other:
        answers = [ann.call(held.address), bob.call(other.address)]
        heard = held.packets(1)[0], other.packets(1)[0]
        for _ in range(3):
            held.send_rtcp(receiver_report(), rtcp_of(answers[0]))
            other.send_rtcp(about(heard[1]), rtcp_of(answers[1]))
            held.packets(210), other.packets(210)
        wait_for(lambda: server.log.count(" packets. Allow UDP from port ") == 2, "two warnings")
        log = server.log
        assert f"no report of the receiver 127.0.0.2:{held.address[1]} has named a packet of the music; " in log
        assert f"the receiver 127.0.0.3:{other.address[1]} has reported for " in log
        assert f"from port {answers[1].media[1]} of this server to 127.0.0.3:{other.address[1]}" in log
        ann.bye(), bob.bye()
