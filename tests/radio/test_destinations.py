"""Tests of where radios may be fetched from."""

from __future__ import annotations

import socket

import pytest

from moh.common.addresses import networks
from moh.radio import destinations
from moh.radio.destinations import SourceFailed, connect, is_permitted, is_this_machine

REFUSED = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1",
    "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
    "::127.0.0.1",
    "localhost", "",
]  # fmt: skip


@pytest.mark.parametrize("host", REFUSED)
def test_an_address_that_is_not_on_the_internet_is_refused(host: str) -> None:
    assert not is_permitted(host, ())


@pytest.mark.parametrize("host", ["203.0.113.1", "8.8.8.8", "2001:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_an_address_on_the_internet_is_permitted(host: str) -> None:
    assert is_permitted(host, ())


def test_the_owner_may_permit_networks() -> None:
    allowed = networks("10.0.0.0/8,::1/128,fd12::/16")
    assert all(is_permitted(host, allowed) for host in ("10.1.2.3", "::ffff:10.0.0.1", "::1", "fd12::1", "8.8.8.8"))
    assert not any(is_permitted(host, allowed) for host in ("127.0.0.1", "192.168.1.1", "fd13::1", "64:ff9b::7f00:1"))
    assert not is_permitted("224.0.0.1", networks("0.0.0.0/0")), "a radio is one host"


def resolves_to(monkeypatch: pytest.MonkeyPatch, *literals: str) -> None:
    """Let each name lead to ``literals``."""

    def found(host: str, port: int, **_: object) -> list[object]:
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in literals
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize(
    "host, literal", [("radio.example", "10.0.0.1"), ("2130706433", "127.0.0.1"), ("x", "::ffff:169.254.169.254")]
)
def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch, host: str, literal: str) -> None:
    resolves_to(monkeypatch, literal)
    with pytest.raises(SourceFailed) as caught:
        connect(host, 80, ())
    assert str(caught.value) == (
        f"{host} leads to {literal}, which is not on the internet; MOH_ALLOW_RADIO={literal} would allow it"
    )


def test_an_address_of_this_machine_is_found_without_a_packet() -> None:
    assert is_this_machine(socket.AF_INET, ("127.0.0.1", 9))
    assert is_this_machine(socket.AF_INET, ("127.9.9.9", 9)) is False, "it would be sent from 127.0.0.1"
    assert not is_this_machine(socket.AF_INET, ("203.0.113.1", 9))


def test_a_public_address_of_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "is_public", lambda host: True)
    resolves_to(monkeypatch, "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SourceFailed) as caught:
            connect("radio.example", port, ())
        connect("radio.example", port, networks("127.0.0.1")).close()
    assert str(caught.value) == (
        "radio.example leads to 127.0.0.1, which is an address of this machine; "
        "MOH_ALLOW_RADIO=127.0.0.1 would allow it"
    )


def test_a_literal_is_refused_in_fewer_words() -> None:
    with pytest.raises(SourceFailed) as caught:
        connect("169.254.169.254", 80, ())
    assert str(caught.value) == (
        "169.254.169.254 is not on the internet; MOH_ALLOW_RADIO=169.254.169.254 would allow it"
    )


def test_of_several_addresses_only_those_that_are_permitted_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves_to(monkeypatch, "10.0.0.1", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = connect("radio.example", listener.getsockname()[1], networks("127.0.0.0/8"))
        assert connection.getpeername() == listener.getsockname()
        connection.close()


def test_the_reason_says_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceFailed) as caught:
        connect("127.0.0.1", port, networks("127.0.0.0/8"))
    assert str(caught.value) == f"cannot connect to 127.0.0.1 port {port}: Connection refused"

    def missing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def no_server(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", missing)
    with pytest.raises(SourceFailed, match=r"^no such host: radio.example$"):
        connect("radio.example", 80, ())
    monkeypatch.setattr(socket, "getaddrinfo", no_server)
    with pytest.raises(SourceFailed, match=r"^the name radio.example cannot be looked up: Temporary failure"):
        connect("radio.example", 80, ())


def test_an_address_that_does_not_answer_leaves_time_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "EACH_TIMEOUT", 0.2)
    resolves_to(monkeypatch, "127.0.0.3", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as there, socket.socket() as full:
        full.bind(("127.0.0.3", there.getsockname()[1]))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]  # they fill its queue
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        connection = connect("radio.example", there.getsockname()[1], networks("127.0.0.0/8"))
        assert connection.getpeername() == there.getsockname()
        for each in (connection, *waiting):
            each.close()


def test_a_host_that_is_no_name_is_reported() -> None:
    with pytest.raises(SourceFailed, match=r"^no such host"):
        connect("a" * 300, 80, ())
    with pytest.raises(SourceFailed, match=r"^no such host"):
        connect("x..y", 80, ())
