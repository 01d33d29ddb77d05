"""What the doctor says of the address that callers are told."""

from __future__ import annotations

import pytest

from moh.common.config import Settings
from moh.doctor import address
from moh.doctor.address import address_findings
from moh.doctor.finding import Finding
from moh.doctor.texts import level, words

OWN = "192.168.1.100"
INSIDE = "172.17.0.2"


def findings(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], own: str = OWN, bridge: bool = False
) -> list[Finding]:
    """The findings of a machine with the address ``own`` (empty: none), which is a container's own if ``bridge``."""
    interfaces = [("lo", "127.0.0.1"), *([("eth0", own)] if own else [])]
    monkeypatch.setattr(address, "local_addresses", lambda: interfaces)
    monkeypatch.setattr(address, "is_ours", lambda host: host in (own, "127.0.0.1"))
    monkeypatch.setattr(address, "is_behind_a_bridge", lambda host: bridge and host == own)
    monkeypatch.setattr(address, "address_on_the_network", lambda: own or "127.0.0.1")
    return list(address_findings(Settings.from_environment(environment)))


@pytest.mark.parametrize(
    ("environment", "name", "expected"),
    [
        ({}, "address", "ok"),
        ({"MOH_ADVERTISED_ADDRESS": OWN}, "address", "ok"),
        ({"MOH_ADVERTISED_ADDRESS": "127.0.0.1"}, "address-loopback", "error"),
        ({"MOH_ADVERTISED_ADDRESS": "192.168.1.101"}, "address-elsewhere", "warning"),
        ({"MOH_ADVERTISED_ADDRESS": "198.51.100.1"}, "address-elsewhere", "note"),
        ({"MOH_BIND": "192.168.1.101"}, "bind-elsewhere", "error"),
    ],
)
def test_an_address_on_the_network(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str, expected: str
) -> None:
    (only,) = findings(monkeypatch, environment)
    assert (only.id, level(only)) == (name, expected)


@pytest.mark.parametrize(
    ("environment", "name", "expected"),
    [
        ({}, "address-stand-in", "note"),
        ({"MOH_ADVERTISED_ADDRESS": INSIDE}, "address-of-container", "error"),
        ({"MOH_ADVERTISED_ADDRESS": "127.0.0.1"}, "address-loopback", "error"),
        ({"MOH_ADVERTISED_ADDRESS": OWN}, "address", "ok"),  # most likely that of the container's machine
    ],
)
def test_an_address_of_a_container(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str, expected: str
) -> None:
    (only,) = findings(monkeypatch, environment, INSIDE, bridge=True)
    assert (only.id, level(only)) == (name, expected)


def test_a_server_for_its_own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"MOH_BIND": "127.0.0.1", "MOH_ADVERTISED_ADDRESS": "127.0.0.1"}
    assert [each.id for each in findings(monkeypatch, environment)] == ["bind-loopback", "address"]


def test_a_machine_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.id for each in findings(monkeypatch, {}, "")] == ["network-none", "address"]


def test_the_uri_is_what_the_phone_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    (only,) = findings(monkeypatch, {"MOH_SIP_PORT": "5070"})
    assert words(only, "en").what == f"Phones dial sip:123@{OWN}:5070."
