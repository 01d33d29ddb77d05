"""The line about a time zone that the owner did not mean. End to end, with the system's own time zones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import StartServer
from moh.server.time_zone import ZONES, time_zone_fault

needs_zones = pytest.mark.skipif(not Path(ZONES, "Asia/Tokyo").is_file(), reason="needs tzdata: apt-get install tzdata")


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


@needs_zones
@pytest.mark.parametrize("name", ["", "Asia/Tokyo", ":Asia/Tokyo", "Japan", "Etc/UTC", f"{ZONES}/Asia/Tokyo"])
def test_a_time_zone_of_this_machine_is_right(name: str) -> None:
    assert time_zone_fault({"TZ": name}) == ""


@pytest.mark.parametrize("name", ["JST-9", "<+09>-9", "EST5EDT", "UTC", "CET-1CEST,M3.5.0,M10.5.0/3"])
def test_some_time_zones_need_no_file(name: str, tmp_path: Path) -> None:
    assert time_zone_fault({"TZ": name, "TZDIR": str(tmp_path)}) == ""


def test_without_the_variable_nothing_is_said() -> None:
    assert time_zone_fault({}) == ""


@pytest.mark.parametrize("name", ["Asia/Tokio", "asia/tokyo", "Tokyo", "JST", "+9", "+09:00", '"Asia/Tokyo"', "Asia"])
def test_an_unknown_time_zone_is_named(name: str) -> None:
    why = "which this machine does not know, so the times in this log are UTC; expected a name such as Asia/Tokyo"
    assert time_zone_fault({"TZ": name}) == f"TZ is {name!r}, {why}"


def test_a_machine_without_time_zones_knows_none(tmp_path: Path) -> None:
    assert time_zone_fault({"TZ": "Asia/Tokyo", "TZDIR": str(tmp_path)}).startswith("TZ is 'Asia/Tokyo', which this ")


@pytest.mark.parametrize("name", ["UTC+9", "JST+9"])
def test_the_sign_of_a_time_zone_is_explained(set_zone: pytest.MonkeyPatch, name: str) -> None:
    """The C library takes ``UTC+9`` for a time nine hours behind UTC, as POSIX says."""
    set_zone.setenv("TZ", name)
    time.tzset()
    why = "so the times in this log are 9 h behind UTC. For a time ahead, expected a name such as Asia/Tokyo"
    assert time_zone_fault({"TZ": name}) == f"TZ is {name!r}, {why}"


def test_the_log_has_the_line(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokio")
    assert "WARNING TZ is 'Asia/Tokio', which this machine does not know, " in start_server().ready().log


@needs_zones
def test_the_log_has_the_time_of_the_time_zone(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    line = start_server().ready().log.splitlines()[0]
    told = time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")) - time.mktime(time.gmtime())
    assert told == pytest.approx(9 * 3600, abs=60), line
