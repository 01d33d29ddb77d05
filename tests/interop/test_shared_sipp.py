"""End to end: SIPp makes 300 calls at once, six times as many as get their own ffmpeg."""

from __future__ import annotations

import threading
from pathlib import Path

from conftest import StartServer
from tests.support.crowd import Crowd
from tests.support.peers import SCENARIOS, run_sipp
from tests.support.phone import Ear, Packet, Phone, has_no_gap, is_music
from tests.support.running import Running, free_ports, wait_for

CALLS, ALONE = 300, 50
"""The number of all calls, and of calls with their own ffmpeg (MOH_FFMPEG_CALLS)."""


class Parties(Crowd):
    """The held parties, and a thread that reads their packets and counts the server's ffmpegs."""

    def __init__(self, server: Running) -> None:
        super().__init__(CALLS)
        self.most_ffmpegs = 0
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def __enter__(self) -> Parties:
        return self

    def _listen(self) -> None:
        while not self._over.wait(0.2):
            self.read()
            self.most_ffmpegs = max(self.most_ffmpegs, len(self._server.ffmpegs))

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.read()
        super().__exit__()


def streams(packets: list[Packet]) -> dict[int, list[Packet]]:
    """Return the packets of each SSRC."""
    found: dict[int, list[Packet]] = {}
    for packet in packets:
        found.setdefault(packet.ssrc, []).append(packet)
    return found


def test_three_hundred_calls_at_once_all_get_music(start_server: StartServer, tmp_path: Path) -> None:
    first = free_ports(101)
    server = start_server(MOH_RTP_PORTS=f"{first}-{first + 100}", MOH_LOG="info").ready()
    longer = tmp_path / "longer.xml"
    longer.write_text((SCENARIOS / "hold.xml").read_text().replace('milliseconds="2000"', 'milliseconds="8000"'))
    with Parties(server) as parties:
        counts = run_sipp(str(longer.with_suffix("")), server, parties.addresses, tmp_path, CALLS, rate=150)
        assert (counts["SuccessfulCall"], counts["FailedCall"]) == (CALLS, 0)
        wait_for(lambda: server.log.count("ended after") == CALLS, "the end of all calls")
        assert server.has_no_ffmpeg()
    assert all(parties.received), "each party has received music"
    ports = [heard[0].source[1] for heard in parties.received]
    sharing = ports.count(first + 100)
    assert CALLS > sharing >= CALLS / 2, "an ffmpeg for each call that came while no other was starting"
    assert parties.most_ffmpegs <= ALONE + 1, "one more encodes the shared stream"
    for address, heard in zip(parties.addresses, parties.received):
        assert all(has_no_gap(packets) for packets in streams(heard).values()), address
        assert {(packet.size, packet.payload_type) for packet in heard} == {(172, 0)}
        assert is_music(heard), address
    assert "Traceback" not in server.log

    with Phone(server.address) as phone, Ear() as ear:
        answer = phone.call(ear.address)
        assert answer.media[1] in range(first, first + 100, 2), "this call has its own ffmpeg again"
        assert ear.packets(1)[0].source == answer.media
        phone.bye()
    assert server.has_no_ffmpeg()
