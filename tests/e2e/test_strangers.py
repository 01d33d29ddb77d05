"""End to end: callers on the internet, and where a real server lets them direct its music."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conftest import StartServer
from tests.e2e.test_tcp import Line, over
from tests.support.internet import CALLER, SERVER, SILENT, internet
from tests.support.phone import Ear, Message, Phone
from tests.support.running import Address, Running, wait_for

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


# -- music that the host it goes to has not asked for ----------------------------------------------------------------

HOST_LIMIT, SOURCE_LIMIT = 8, 32
"""Calls at once to one silent host, and of one source to silent hosts."""
RTP = b"\x80\x00" + bytes(170)
RECEIVER_REPORT = b"\x80\xc9\0\1\0\0\0\7"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("packet", ["RTP", "RTCP"])
def test_eight_calls_to_a_silent_host_until_one_packet_comes_from_it(
    start_server: StartServer, outside: list[str], engine: str, transport: str, packet: str
) -> None:
    server = start(start_server, outside, MOH_FFMPEG_CALLS=engine)
    with Ear(SILENT) as ear:
        answers = [dial(server, transport, ear.address) for _ in range(HOST_LIMIT + 1)]
        assert [answer.status for answer in answers] == [200] * HOST_LIMIT + [503]
        assert {packet.source for packet in ear.packets(200)} == {answer.media for answer in answers[:-1]}
        assert answers[-1].get("retry-after") == "5"
        assert f"MOH_ALLOW to name {CALLER} or MOH_ALLOW_MEDIA to name {SILENT}" in server.log
        host, port = answers[0].media
        if packet == "RTP":
            ear.send_rtp(RTP, (host, port))
        else:
            ear.send_rtcp(RECEIVER_REPORT, (host, port if engine == "0" else port + 1))
        wait_for(lambda: dial(server, transport, ear.address).status == 200, "the end of the limit")
        assert [dial(server, transport, ear.address).status for _ in range(2 * HOST_LIMIT)] == [200] * 2 * HOST_LIMIT
    assert server.log.count("refused 'INVITE'") == 1, "further ones are counted"


def test_thirty_two_calls_of_one_source_to_silent_hosts(start_server: StartServer, outside: list[str]) -> None:
    server = start(start_server, outside, MOH_FFMPEG_CALLS="0")
    hosts = [f"198.18.0.{number // HOST_LIMIT}" for number in range(SOURCE_LIMIT)]
    assert [dial(server, "UDP", (host, 4000)).status for host in hosts] == [200] * SOURCE_LIMIT
    assert dial(server, "UDP", ("198.18.0.99", 4000)).status == 503
    assert dial(server, "UDP", (CALLER, 4000)).status == 200


@pytest.mark.parametrize("setting", ["MOH_ALLOW", "MOH_ALLOW_MEDIA"])
def test_either_setting_lifts_the_limit_on_music_to_a_silent_host(
    start_server: StartServer, outside: list[str], setting: str
) -> None:
    named = {"MOH_ALLOW": f"{CALLER},0.0.0.0/0", "MOH_ALLOW_MEDIA": f"{SILENT},0.0.0.0/0"}[setting]
    server = start(start_server, outside, MOH_FFMPEG_CALLS="0", **{setting: named})
    statuses = [dial(server, "UDP", (SILENT, 4000)).status for _ in range(SOURCE_LIMIT + 1)]
    assert statuses == [200] * (SOURCE_LIMIT + 1)
