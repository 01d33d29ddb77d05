"""End to end: SIPp calls with 300 phones at once, six times as many as have an ffmpeg of their own."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from conftest import StartServer
from tests.interop.test_sipp import SCENARIOS, SIPP, sipp
from tests.support.phone import Ear, Packet, Phone
from tests.support.running import Running, free_ports, wait_for

CALLS, ALONE = 300, 50

pytestmark = pytest.mark.skipif(SIPP is None, reason="SIPp IS MISSING: apt-get install sip-tester")


class Party:
    """A held party: one address for RTP. What it hears waits in the kernel until it is taken in."""

    def __init__(self, number: int, port: int) -> None:
        self.address = (f"127.2.{number // 250}.{number % 250 + 1}", port)
        self.heard: list[Packet] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.address)

    def take_in(self) -> None:
        try:
            while True:
                self.heard.append(Ear.read(*self._socket.recvfrom(2048)))
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._socket.close()


class Parties:
    """All of them, and a thread that takes in what they hear and sees how many ffmpegs there are."""

    def __init__(self, server: Running) -> None:
        port = free_ports(2)
        self.all = [Party(number, port) for number in range(CALLS)]
        self.most_ffmpegs = 0
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over.is_set():
            for party in self.all:
                party.take_in()
            self.most_ffmpegs = max(self.most_ffmpegs, len(self._server.ffmpegs))
            time.sleep(0.2)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for party in self.all:
            party.take_in()
            party.close()


def streams(packets: list[Packet]) -> dict[int, list[Packet]]:
    """What was heard, by SSRC."""
    found: dict[int, list[Packet]] = {}
    for packet in packets:
        found.setdefault(packet.ssrc, []).append(packet)
    return found


def test_three_hundred_calls_at_once_all_hear_music(start_server: StartServer, tmp_path: Path) -> None:
    first = free_ports(101)
    server = start_server(MOH_RTP_PORTS=f"{first}-{first + 100}", MOH_LOG="info").ready()
    parties = Parties(server)
    longer = tmp_path / "longer.xml"
    longer.write_text((SCENARIOS / "hold.xml").read_text().replace('milliseconds="2000"', 'milliseconds="8000"'))
    try:
        counts = sipp(str(longer.with_suffix("")), server, parties.all, tmp_path, CALLS, rate=150)
        assert (counts["SuccessfulCall"], counts["FailedCall"]) == (CALLS, 0)
        wait_for(lambda: server.log.count("ended after") == CALLS, "the end of all calls")
        assert server.has_no_ffmpeg()
    finally:
        parties.close()
    sharing = [party for party in parties.all if party.heard and party.heard[0].source[1] == first + 100]
    alone = [party for party in parties.all if party.heard and party.heard[0].source[1] != first + 100]
    assert len(sharing) + len(alone) == CALLS, "everybody has heard something"
    assert len(alone) >= ALONE and len(sharing) >= CALLS / 2
    assert parties.most_ffmpegs <= ALONE + 1, "one encodes for all who share"
    for party in parties.all:
        for packets in streams(party.heard).values():
            sequences = [(packet.sequence - packets[0].sequence) % 2**16 for packet in packets]
            assert sequences == list(range(len(packets))), party.address
        assert {(packet.size, packet.payload_type) for packet in party.heard} == {(172, 0)}
        assert len(set(b"".join(packet.payload for packet in party.heard))) > 50, "music, not silence"
    assert "Traceback" not in server.log

    with Phone(server.address) as phone, Ear() as ear:
        answer = phone.call(ear.address)
        assert answer.media[1] in range(first, first + 100, 2), "an ffmpeg of one's own again"
        assert ear.packets(1)[0].source == answer.media
        phone.bye()
    assert server.has_no_ffmpeg()
