"""End to end: callers on the internet, and where a real server lets them direct its music."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conftest import StartServer
from tests.e2e.test_tcp import Line, over
from tests.support.internet import CALLER, SERVER, internet
from tests.support.phone import Ear, Message, Phone
from tests.support.running import Address, Running

ENGINES = ("50", "0")
"""``MOH_FFMPEG_CALLS``: the calls of these tests have an ffmpeg each, or share a stream."""


@pytest.fixture
def outside() -> Iterator[list[str]]:
    """This test is on the internet; the command runs the server."""
    with internet() as command:
        yield command


def start(start_server: StartServer, outside: list[str], **settings: str) -> Running:
    server = start_server(before=outside, MOH_BIND="0.0.0.0", MOH_LOG="info", **settings).ready()
    server.address = (SERVER, server.port)
    return server


def dial(server: Running, transport: str, media: Address) -> Message:
    """Call from the internet; the final answer, acknowledged if it is a 200."""
    with Phone(server.address, CALLER) as phone:
        if transport == "UDP":
            answer = phone.ask(phone.invite(media))
            if answer.status == 200:
                phone.accept(answer)
            return answer
        with Line(server.address, host=CALLER) as line:
            line.send(over(transport, phone, phone.invite(media)))
            answer = line.receive()
            while answer.status < 200:
                answer = line.receive()
            if answer.status == 200:
                phone.to_tag = answer.to_tag
                line.send(over(transport, phone, phone.request("ACK")))
            return answer


INWARDS = [
    "10.77.0.9",
    "169.254.169.254",
    "100.64.0.9",
    SERVER,
    "0x0a4d0009",
    "012.0115.0.011",
    "10.77.9",
    "::ffff:10.77.0.9",
    "::10.77.0.9",
    "64:ff9b::10.77.0.9",
    "2002:a4d:9::1",
    "2001:0:cb00:7114:0:fbff:f5b2:fff6",
    "fe80::9%eth0",
    "fd00::9",
]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_caller_on_the_internet_directs_no_music_inwards(
    start_server: StartServer, outside: list[str], engine: str
) -> None:
    server = start(start_server, outside, MOH_FFMPEG_CALLS=engine)
    with Ear("10.77.0.9") as ear:
        for transport in ("UDP", "TCP"):
            for host in INWARDS:
                answer = dial(server, transport, (host, ear.address[1]))
                assert answer.status == 488, (transport, host)
                assert "MOH_ALLOW names" in answer.get("warning") and "MOH_ALLOW_MEDIA" in answer.get("warning")
            assert dial(server, transport, (CALLER, 4000)).status == 200
        assert ear.heard_nothing()


def test_the_answer_does_not_tell_whether_a_name_leads_inwards(start_server: StartServer, outside: list[str]) -> None:
    server = start(start_server, outside)
    inwards, nowhere = (dial(server, "UDP", (name, 4000)) for name in ("localhost", "a.invalid"))
    assert (inwards.status, inwards.first) == (488, nowhere.first.replace("a.invalid", "localhost"))
    assert inwards.get("warning") == nowhere.get("warning").replace("a.invalid", "localhost")
    assert "no music to 'localhost' for " in server.log and "MOH_ALLOW_MEDIA" in server.log


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("setting", ["MOH_ALLOW", "MOH_ALLOW_MEDIA"])
def test_either_setting_lets_music_go_inwards(
    start_server: StartServer, outside: list[str], engine: str, setting: str
) -> None:
    named = {"MOH_ALLOW": CALLER, "MOH_ALLOW_MEDIA": "10.77.0.0/16"}[setting]
    server = start(start_server, outside, MOH_FFMPEG_CALLS=engine, **{setting: named})
    with Ear("10.77.0.9") as ear:
        assert dial(server, "UDP", ("0x0a4d0009", ear.address[1])).status == 200
        assert ear.packets(5)
