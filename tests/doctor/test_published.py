"""End to end: whether a container's ports are published. The loopback address stands for the container's machine."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from moh.common.config import Settings
from moh.doctor import published
from moh.doctor.published import gateway, is_refused, published_findings
from moh.doctor.texts import level
from moh.rtp.port_pool import shared_port
from tests.support.running import free_ports


@pytest.fixture
def settings() -> Settings:
    first = free_ports(6)
    return Settings.from_environment({"MOH_SIP_PORT": str(first + 5), "MOH_RTP_PORTS": f"{first}-{first + 4}"})


def ids(settings: Settings, runs: bool = True) -> list[str]:
    return [each.id for each in published_findings(settings, runs)]


def test_a_datagram_that_comes_back_shows_that_the_ports_are_published(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(published, "gateway", lambda: "127.0.0.1")
    assert ids(settings, runs=False) == ["rtp-published"]


def test_a_machine_that_refuses_the_ports_does_not_publish_them(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(published, "gateway", lambda: "127.0.0.1")
    # as from another network namespace: what is sent to the port of the range arrives where no program has it
    real = published._send
    monkeypatch.setattr(published, "_send", lambda sock, to, data: real(sock, ("127.0.0.2", free_ports(1)), data))
    assert ids(settings) == ["sip-not-published", "rtp-not-published"]
    for address, expected in (("192.168.1.100", "note"), ("198.51.100.1", "warning")):
        _, found = published_findings(replace(settings, advertised_address=address), runs=True)
        assert level(found) == expected, "callers from the internet need the ports"


def test_without_an_answer_nothing_is_known(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(published, "PATIENCE", 0.01)
    for machine in ("", "127.0.0.1"):
        monkeypatch.setattr(published, "gateway", lambda machine=machine: machine)
        monkeypatch.setattr(published, "_send", lambda sock, to, data: bool(sock.connect(("127.0.0.1", 9))) or True)
        assert ids(settings, runs=False) == ["rtp-unknown"]


def test_ports_of_calls_are_left_out(settings: Settings) -> None:
    first, last = settings.rtp_ports
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", last - 1))
        assert shared_port(first, last) == last, "the shared stream has it, so it is not tried"
        assert published._free_port(first, last) == last - 2


def test_a_port_with_a_program_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "PATIENCE", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind(("127.0.0.1", 0))
        assert not is_refused("127.0.0.1", program.getsockname()[1])
    assert is_refused("127.0.0.1", free_ports(1))


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
"""


def test_the_gateway_is_that_of_the_default_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "ROUTES", tmp_path / "route")
    assert gateway() == ""
    (tmp_path / "route").write_text(ROUTES)
    assert gateway() == "172.17.0.1"
