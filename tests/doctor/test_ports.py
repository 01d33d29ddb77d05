"""End to end: which program has a port of the server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from moh.common.config import Settings
from moh.doctor.finding import Finding
from moh.doctor.ports import UNKNOWN, holder, is_taken, port_findings
from moh.doctor.texts import words
from tests.support.running import free_ports

FIRST = 4
"""Ports in front of the range for music, for SIP and TLS."""


@pytest.fixture
def environment() -> dict[str, str]:
    first = free_ports(12)
    return {"MOH_SIP_PORT": str(first), "MOH_RTP_PORTS": f"{first + FIRST}-{first + FIRST + 6}"}


def findings(environment: dict[str, str]) -> list[Finding]:
    return list(port_findings(Settings.from_environment({"MOH_BIND": "127.0.0.1", **environment})))


@pytest.fixture(params=["UDP", "TCP"])
def program(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[str]:
    """Another program has the SIP port by this transport."""
    kind = socket.SOCK_DGRAM if request.param == "UDP" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", int(environment["MOH_SIP_PORT"])))
        if request.param == "TCP":
            taken.listen()
        yield request.param


def test_free_ports(environment: dict[str, str]) -> None:
    (only,) = findings(environment)
    assert only.id == "ports-free"


def test_the_program_that_has_the_sip_port_is_named(environment: dict[str, str], program: str) -> None:
    (only,) = findings(environment)
    what = words(only, "en").what
    assert what.startswith(f"Another program has the port {environment['MOH_SIP_PORT']} ({program}): ")
    assert what.endswith(f" ({os.getpid()}).")


def test_the_port_of_the_shared_stream(environment: dict[str, str]) -> None:
    last = int(environment["MOH_RTP_PORTS"].partition("-")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", last))
        (only,) = findings(environment)
    assert only.id == "rtp-port-taken" and f"the UDP port {last} of MOH_RTP_PORTS" in words(only, "en").what


def test_the_port_of_tls_counts_only_with_a_certificate(environment: dict[str, str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        tls = {"MOH_TLS_CERT": "c.pem", "MOH_TLS_PORT": str(taken.getsockname()[1])}
        assert [each.id for each in findings({**environment, **tls})] == ["port-taken"]
        assert [each.id for each in findings(environment)] == ["ports-free"]


def test_the_port_of_the_page(environment: dict[str, str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (only,) = findings({**environment, "MOH_HTTP": str(taken.getsockname()[1])})
    assert only.values["setting"] == "MOH_HTTP"


def test_a_port_without_a_program_has_no_holder() -> None:
    port = free_ports(1)
    assert holder(port, "UDP") == UNKNOWN and not is_taken("127.0.0.1", port, "UDP")
