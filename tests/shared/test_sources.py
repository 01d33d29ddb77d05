"""The local addresses that packets leave from, by literal clocks."""

from __future__ import annotations

import socket

import pytest

from moh.shared import sources
from moh.shared.sources import MOST_SOURCES, SOURCE_LIFETIME, Sources


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What ``way_out`` was asked for; its answer is the local address."""
    found: list[tuple[str, str]] = []

    def way_out(local: str, remote: str) -> str:
        found.append((local, remote))
        return local

    monkeypatch.setattr(sources, "way_out", way_out)
    return found


def test_a_source_is_asked_for_once_in_five_seconds(asked: list[tuple[str, str]]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.2", 0))
        found = Sources({False: sock})
        assert found.find(False, "127.0.0.2", "10.0.0.9", 0.0) == "", "the socket itself has this address"
        for remote in ("10.0.0.9", "10.0.0.10"):
            assert found.find(False, "192.0.2.1", remote, 0.0) == "192.0.2.1"
        assert found.find(False, "192.0.2.1", "127.0.0.9", 1.0) == "192.0.2.1"
        assert asked == [("192.0.2.1", "10.0.0.9"), ("192.0.2.1", "127.0.0.9")]
        found.find(False, "192.0.2.1", "10.0.0.11", SOURCE_LIFETIME)
        assert asked[2:] == [("192.0.2.1", "10.0.0.11")]


def test_the_table_is_bounded(asked: list[tuple[str, str]]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        found = Sources({False: sock})
        for number in range(3 * MOST_SOURCES):
            found.find(False, f"10.1.{number // 250}.{number % 250}", "10.0.0.9", 0.0)
        assert len(found._found) <= MOST_SOURCES + 1 and len(asked) == 3 * MOST_SOURCES
