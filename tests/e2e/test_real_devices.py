"""End to end: session descriptions as real devices write them, by UDP and by TCP, both engines.

The tables are those of ``tests/sip/test_odd_offers.py``. Each test collects all faults, so that one run shows all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.test_tcp import Line, over
from tests.support.odd_offers import HOLDS, PLAYABLE, SWITCHED_OFF, filled, playable
from tests.support.phone import Ear, Message, Phone, offer
from tests.support.running import Running

AT_ONCE = 12
"""The most calls at the same time, since each may need an ffmpeg."""
Engines = Mapping[str, Running]
TRANSPORTS = pytest.mark.parametrize("transport", ["UDP", "TCP"])
ENGINES = pytest.mark.parametrize("engine", ["ffmpeg", "shared"])


@pytest.fixture(scope="module")
def engines(own_server: Running, tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Engines]:
    """A server whose calls have an ffmpeg each, and one whose calls all share the stream."""
    with Running(tmp_path_factory.mktemp("shared"), music_cache, MOH_FFMPEG_CALLS="0") as shared:
        yield {"ffmpeg": own_server, "shared": shared.ready()}
        assert "Traceback" not in shared.log, shared.log


class Device:
    """A phone with one call, by UDP or by a connection of its own, and the held party that receives its music."""

    def __init__(self, server: Running, transport: str, stack: ExitStack) -> None:
        self.phone = stack.enter_context(Phone(server.address))
        self.ear = stack.enter_context(Ear("127.0.0.2"))
        self._line = stack.enter_context(Line(server.address)) if transport == "TCP" else None

    def send(self, data: bytes) -> None:
        if self._line is None:
            self.phone.send(data)
        else:
            self._line.send(over("TCP", self.phone, data))

    def ask(self, method: str, body: str = "", ack: str = "") -> Message:
        """Send a request and return its final answer. An accepted INVITE gets its ACK, with the body ``ack``."""
        request = self.phone.request(method, body=body)
        self.send(request)
        answer = self.phone.final(request) if self._line is None else self._line.receive()
        while answer.status < 200 or answer.method != method:
            assert self._line is not None
            answer = self._line.receive()
        if method == "INVITE" and answer.status == 200:
            self.phone.to_tag = answer.to_tag
            self.send(self.phone.request("ACK", body=ack))
        return answer

    def calls(self) -> None:
        assert self.ask("INVITE", offer(self.ear.address)).status == 200


def silent(devices: Mapping[str, Device]) -> set[str]:
    """Return the names of the devices whose music has ended: they receive nothing for 0.3 s."""
    ears = {name: device.ear for name, device in devices.items()}
    first = next(iter(ears.values()))
    first.falls_silent()
    for ear in ears.values():
        ear.waiting()
    first.falls_silent()
    return {name for name, ear in ears.items() if ear.heard_nothing()}


def groups(engine: str, rows: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table in groups of at most ``AT_ONCE``. There are fewer rows if each call needs an ffmpeg."""
    names = list(rows)[:: 3 if engine == "ffmpeg" else 1]
    for first in range(0, len(names), AT_ONCE):
        yield {name: rows[name] for name in names[first : first + AT_ONCE]}


@TRANSPORTS
@ENGINES
def test_an_odd_hold_stops_the_music_and_the_resume_plays_again(engines: Engines, engine: str, transport: str) -> None:
    wrong: list[tuple[str, str, str]] = []
    for rows in groups(engine, {**HOLDS, **SWITCHED_OFF}):
        with ExitStack() as stack:
            devices = {name: Device(engines[engine], transport, stack) for name in rows}
            for device in devices.values():
                device.calls()
            for method in ("INVITE", "UPDATE"):
                for device in devices.values():
                    assert device.ear.packets(2)
                for name, device in devices.items():
                    answer = device.ask(method, filled(rows[name], device.ear.address))
                    held = "a=inactive" in answer.body or (name in SWITCHED_OFF and "m=audio 0 " in answer.body)
                    if answer.status != 200 or not held:
                        wrong.append((name, method, answer.first))
                quiet = silent(devices)
                wrong += [(name, method, "plays on") for name in devices if name not in quiet]
                for device in devices.values():
                    assert device.ask(method, offer(device.ear.address)).status == 200
            for name, device in devices.items():
                assert device.ear.packets(2), name
                assert device.ask("BYE").status == 200
    assert wrong == []


@TRANSPORTS
@ENGINES
def test_an_odd_hold_in_the_ack_keeps_the_call(engines: Engines, engine: str, transport: str) -> None:
    for rows in groups(engine, {**HOLDS, **SWITCHED_OFF}):
        with ExitStack() as stack:
            devices = {name: Device(engines[engine], transport, stack) for name in rows}
            for name, device in devices.items():
                assert device.ask("INVITE", ack=filled(rows[name], device.ear.address)).status == 200
            assert silent(devices) == set(rows)
            for name, device in devices.items():
                assert device.ask("INVITE", offer(device.ear.address)).status == 200, name
                assert device.ear.packets(2)
                assert device.ask("BYE").status == 200


@TRANSPORTS
@ENGINES
@pytest.mark.parametrize("where", ["the INVITE", "the ACK"])
def test_odd_streams_beside_the_one_that_is_used(engines: Engines, engine: str, transport: str, where: str) -> None:
    for rows in groups(engine, PLAYABLE):
        with ExitStack() as stack:
            devices = {name: Device(engines[engine], transport, stack) for name in rows}
            for name, device in devices.items():
                body = filled(playable(rows[name]), device.ear.address)
                late = where == "the ACK"
                assert device.ask("INVITE", "" if late else body, ack=body if late else "").status == 200, name
            for device in devices.values():
                assert device.ear.packets(2)
                assert device.ask("BYE").status == 200


SPELLINGS = {
    "9": ("a=rtpmap:9 G722/16000", 9),
    "0": ("a=rtpmap:0 PCMU", 0),
    "8": ("a=rtpmap:8 PCMA/8000 101", 8),
    "8 0": ("a=rtpmap:8\tPCMA/8000", 8),
    "107 0": ("a=rtpmap:107\tPCMU/8000", 107),
    "18 0": ("a=rtpmap:0 PCMU/8000/1", 0),
    "92 0": ("a=rtpmap:92 x-reserved/8000", 0),
}
"""For the formats of an offer: the rtpmap, and the payload type of the music."""


@TRANSPORTS
@ENGINES
def test_payload_types_are_read_by_the_name_of_their_codec(engines: Engines, engine: str, transport: str) -> None:
    for formats, (rtpmap, heard) in SPELLINGS.items():
        with ExitStack() as stack:
            device = Device(engines[engine], transport, stack)
            body = offer(device.ear.address, "a=recvonly", rtpmap, formats=formats)
            assert device.ask("INVITE", body).status == 200, formats
            assert {packet.payload_type for packet in device.ear.packets(2)} == {heard}
            assert device.ask("BYE").status == 200


@ENGINES
def test_the_first_stream_that_may_be_played_to(engines: Engines, engine: str) -> None:
    forbidden = {
        "a port of this server": f"m=audio {engines[engine].port} RTP/AVP 0\r\nc=IN IP4 127.0.0.1\r\n",
        "broadcast": "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 127.255.255.255\r\n",
        "IPv6 without a route": "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 fe80::7\r\n",
    }
    for name, first in forbidden.items():
        with ExitStack() as stack:
            device = Device(engines[engine], "UDP", stack)
            only = playable(first)
            assert device.ask("INVITE", only).status == 488, name
            body = filled(playable(first + "m=audio {port} RTP/AVP 0\r\nc=IN IP4 {host}\r\n"), device.ear.address)
            answer = device.ask("INVITE", body)
            assert answer.status == 200 and "\r\nm=audio 0 RTP/AVP 0\r\nm=audio " in answer.body, name
            assert device.ear.packets(2)
            assert device.ask("BYE").status == 200


@TRANSPORTS
@ENGINES
def test_a_hold_without_a_content_type_stops_the_music(engines: Engines, engine: str, transport: str) -> None:
    with ExitStack() as stack:
        device = Device(engines[engine], transport, stack)
        device.calls()
        assert device.ear.packets(2)
        hold = device.phone.request("UPDATE", body=offer(device.ear.address, "a=inactive"))
        device.send(hold.replace(b"Content-Type: application/sdp\r\n", b""))
        assert device.ear.falls_silent()
        assert device.ask("INVITE", offer(device.ear.address)).status == 200
        assert device.ear.packets(2)
        assert device.ask("BYE").status == 200


@ENGINES
@TRANSPORTS
@pytest.mark.parametrize("port", ["", ":5060", ":5099"])
def test_a_request_uri_that_names_the_caller_does_not_make_its_address_ours(
    engines: Engines, engine: str, transport: str, port: str
) -> None:
    """As of a B2BUA that has the server as its outbound proxy: its ACK and its BYE have to reach us."""
    server = engines[engine]
    with Phone(server.address, "127.0.0.3") as phone, Ear("127.0.0.2") as ear, ExitStack() as stack:
        phone.uri = f"sip:123@127.0.0.3{port}"
        invite = phone.request("INVITE", body=offer(ear.address))
        if transport == "TCP":
            line = stack.enter_context(Line(server.address, host="127.0.0.3"))
            line.send(over("TCP", phone, invite))
            while (answer := line.receive()).status < 200:
                pass
        else:
            answer = phone.ask(invite)
        host, sip_port = server.address
        assert f"sip:moh@{host}:{sip_port}" in answer.get("contact")
        assert answer.media[0] == host
        phone.to_tag = answer.to_tag
        phone.ack()
        ear.packets(10)
        phone.send(phone.request("BYE"))
        assert ear.falls_silent()
