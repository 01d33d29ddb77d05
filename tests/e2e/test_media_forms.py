"""End to end: a real ffmpeg plays by SRTP, as Opus, as G.722 and over IPv6."""

from __future__ import annotations

import base64
import re
import socket

import pytest

from conftest import StartServer
from moh.ffmpeg.launch import encoders
from tests.support.phone import Ear, Packet, Phone, offer
from tests.support.running import Address, Running

KEY = base64.b64encode(bytes(range(30))).decode()


def steps(packets: list[Packet]) -> set[tuple[int, int]]:
    """Return the steps of the sequence number and of the timestamp from packet to packet."""
    pairs = zip(packets, packets[1:])
    return {((b.sequence - a.sequence) % 65536, (b.timestamp - a.timestamp) % 2**32) for a, b in pairs}


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"])
def test_srtp_with_the_key_of_the_answer_is_music(own_server: Running, suite: str) -> None:
    pylibsrtp = pytest.importorskip("pylibsrtp", reason="needs pylibsrtp: pip install -r requirements-dev.txt")
    with Phone(own_server.address) as phone, Ear("127.0.0.2") as ear:
        lines = ("a=recvonly", f"a=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}", f"a=crypto:7 {suite} inline:{KEY}|2^31")
        body = offer(ear.address, *lines).replace("RTP/AVP", "RTP/SAVP")
        answer = phone.call_with(body)
        assert answer.sdp("m").split()[2] == "RTP/SAVP"
        key = re.search(rf"a=crypto:7 {suite} inline:(\S+)\r\n", answer.body)
        assert key and key[1] != KEY, "each side has its own key"
        profile = getattr(pylibsrtp.Policy, "SRTP_PROFILE_" + suite.replace("AES_CM_128_HMAC_", "AES128_CM_"))
        policy = pylibsrtp.Policy(
            key=base64.b64decode(key[1]), ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND, srtp_profile=profile
        )
        session = pylibsrtp.Session(policy)
        packets = [session.unprotect(ear.raw()) for _ in range(10)]
        assert {len(packet) for packet in packets} == {172}
        assert phone.bye().status == 200
    assert key[1] not in own_server.log and KEY not in own_server.log, "keys are never in the log"


def test_of_plain_and_secure_streams_the_first_is_taken(own_server: Running) -> None:
    with Phone(own_server.address) as phone, Ear("127.0.0.2") as ear:
        secure = f"m=audio {ear.address[1]} RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"
        answer = phone.call_with(offer(ear.address) + secure)
        media = [line.split()[1:3] for line in answer.body.split("\r\n") if line.startswith("m=")]
        assert media[0][1] == "RTP/AVP" and media[0][0] != "0"
        assert media[1] == ["0", "RTP/SAVP"]
        assert len(ear.packets(3)) == 3
        phone.bye()


@pytest.mark.skipif("libopus" not in encoders(), reason="needs an ffmpeg with libopus: apt-get install ffmpeg")
@pytest.mark.parametrize(("ptime", "step"), [(20, 960), (40, 1920), (30, 960)])
def test_opus_has_the_payload_type_of_the_offer(own_server: Running, ptime: int, step: int) -> None:
    with Phone(own_server.address) as phone, Ear("127.0.0.2") as ear:
        lines = ("a=recvonly", "a=rtpmap:125 opus/48000/2", f"a=ptime:{ptime}")
        answer = phone.call_with(offer(ear.address, *lines, formats="125 0"))
        assert "a=rtpmap:125 opus/48000/2\r\n" in answer.body
        packets = ear.packets(20)
        assert {packet.payload_type for packet in packets} == {125}
        assert steps(packets) == {(1, step)}
        phone.bye()


@pytest.mark.parametrize(("formats", "lines"), [("9 0", ()), ("96", ("a=rtpmap:96 G722/8000",))])
def test_g722_has_a_clock_of_8000(own_server: Running, formats: str, lines: tuple[str, ...]) -> None:
    with Phone(own_server.address) as phone, Ear("127.0.0.2") as ear:
        phone.call_with(offer(ear.address, "a=recvonly", *lines, formats=formats))
        packets = ear.packets(10)
        assert steps(packets) == {(1, 160)} and {packet.size for packet in packets} == {172}
        assert packets[0].payload_type == int(formats.split()[0])
        phone.bye()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address ::1")
@pytest.mark.parametrize("caller", ["::1", "127.0.0.1"])
@pytest.mark.parametrize("listener", ["::1", "127.0.0.1"])
def test_ipv6_and_ipv4_for_signalling_and_media(start_server: StartServer, caller: str, listener: str) -> None:
    server = start_server(MOH_BIND="::").ready()
    with Phone6((caller, server.port), caller) as phone, Ear(listener) as ear:
        answer = phone.call(ear.address)
        assert answer.sdp("c") == ("IN IP6 ::1" if ":" in listener else "IN IP4 127.0.0.1")
        packets = ear.packets(5)
        assert packets[0].source == answer.media
        assert phone.bye().status == 200


class Phone6(Phone):
    """A phone that also speaks IPv6."""

    def __init__(self, server: Address, host: str) -> None:
        super().__init__(("127.0.0.1", server[1]))
        if ":" in host:
            self.socket.close()
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.socket.bind((host, 0))
            self.server = server
            self.address = (f"[{host}]", self.socket.getsockname()[1])
            self.uri = f"sip:123@[{server[0]}]:{server[1]}"
