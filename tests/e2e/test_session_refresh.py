"""End to end: the server refreshes the sessions of phones without UPDATE, by UDP and by TCP, both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.test_tcp import Line, over
from tests.support.phone import ECHOED, Ear, Message, Phone, has_no_gap, offer
from tests.support.running import SHORT_SESSIONS, Running

Engines = Mapping[str, Running]
ENGINES = pytest.mark.parametrize("engine", ["ffmpeg", "shared"])
TRANSPORTS = pytest.mark.parametrize("transport", ["UDP", "TCP"])
TIMER = ("Supported: timer", "Session-Expires: 4;refresher=uas")


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Engines]:
    """Two servers that take sessions of 4 s, and so refresh them each 2 s."""
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                Running(tmp_path_factory.mktemp(name), music_cache, before=SHORT_SESSIONS, MOH_FFMPEG_CALLS=calls)
            )
            for name, calls in (("ffmpeg", "50"), ("shared", "0"))
        }
        for server in servers.values():
            server.ready()
        yield servers
        for server in servers.values():
            assert "Traceback" not in server.log, server.log


class Device:
    """A phone with one call that the server has to refresh, and the held party."""

    def __init__(self, server: Running, transport: str, stack: ExitStack, allow: str) -> None:
        self.phone = stack.enter_context(Phone(server.address))
        self.ear = stack.enter_context(Ear("127.0.0.2"))
        self._line = stack.enter_context(Line(server.address)) if transport == "TCP" else None
        self.send(self.phone.request("INVITE", allow, *TIMER, body=offer(self.ear.address)))
        self.first = self.receive(lambda message: message.status == 200)
        assert self.first.get("session-expires") == "4;refresher=uas"
        self.phone.to_tag = self.first.to_tag
        self.send(self.phone.request("ACK"))

    def send(self, data: bytes) -> None:
        if self._line is None:
            self.phone.send(data)
        else:
            self._line.send(over("TCP", self.phone, data))

    def receive(self, wanted: Callable[[Message], bool]) -> Message:
        """The next message that is ``wanted``."""
        for _ in range(20):
            message = self.phone.receive() if self._line is None else self._line.receive()
            if wanted(message):
                return message
        raise AssertionError("20 other messages came")

    def request(self, method: str) -> Message:
        """The next request of the server, which has this method."""
        message = self.receive(lambda message: message.status == 0)
        assert message.method == method, message
        return message

    def answer(self, request: Message, status: int, body: str = "") -> None:
        lines = [f"SIP/2.0 {status} Whatever"]
        lines += [f"{name}: {value}" for name, value in request.fields if name in ECHOED]
        lines += ["Content-Type: application/sdp"] * bool(body)
        self.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode())


@ENGINES
@TRANSPORTS
def test_a_phone_without_update_gets_a_reinvite_and_its_music_goes_on(
    engines: Engines, engine: str, transport: str
) -> None:
    """It answers 200, then 403; then its answer moves the music; then 481 ends it."""
    with ExitStack() as stack:
        device = Device(engines[engine], transport, stack, "Allow: INVITE, ACK, CANCEL, BYE")
        device.ear.packets(10)
        for status in (200, 403):
            refresh = device.request("INVITE")
            assert refresh.body == device.first.body
            device.answer(refresh, status, offer(device.ear.address) if status == 200 else "")
            device.request("ACK")
        assert has_no_gap([*device.ear.waiting(), *device.ear.packets(50)])
        other = stack.enter_context(Ear("127.0.0.3"))
        device.answer(device.request("INVITE"), 200, offer(other.address))
        device.request("ACK")
        other.packets(50)
        assert device.ear.falls_silent()
        device.answer(device.request("INVITE"), 481)
        device.request("ACK")
        assert other.falls_silent()


@ENGINES
@TRANSPORTS
def test_a_refresh_whose_answer_says_that_the_call_is_no_more_ends_the_music(
    engines: Engines, engine: str, transport: str
) -> None:
    allows = {"INVITE": "Allow: INVITE, ACK, BYE", "UPDATE": "Allow: INVITE, ACK, BYE, UPDATE"}
    with ExitStack() as stack:
        devices = {
            (method, status): Device(engines[engine], transport, stack, allow)
            for method, allow in allows.items()
            for status in (404, 408, 480)
        }
        for device in devices.values():
            device.ear.packets(10)
        for (method, status), device in devices.items():
            device.answer(device.request(method), status)
            if method == "INVITE":
                device.request("ACK")
            if status != 404:
                device.answer(device.request("BYE"), 200)
            engines[engine].says(f"{status} to our refresh")
        assert all(device.ear.falls_silent() for device in devices.values())


@TRANSPORTS
def test_a_phone_that_knows_no_update_after_all_gets_a_reinvite_at_once(engines: Engines, transport: str) -> None:
    with ExitStack() as stack:
        device = Device(engines["ffmpeg"], transport, stack, "Allow: INVITE, ACK, BYE, UPDATE")
        device.answer(device.request("UPDATE"), 405)
        device.answer(device.request("INVITE"), 200, offer(device.ear.address))
        device.request("ACK")
        device.ear.packets(50)
        device.send(device.phone.request("BYE"))
        device.receive(lambda message: message.status == 200)
        assert device.ear.falls_silent()
