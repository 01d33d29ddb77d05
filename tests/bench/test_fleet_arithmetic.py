"""The arithmetic of a fleet, and the tables of ``docs/scale.md`` that it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.fleet import page
from bench.fleet.arithmetic import (
    SIZES,
    Assumed,
    Measured,
    each_core,
    each_gbit,
    fleet,
    main,
    read_measured,
    text,
)  # fmt: skip

MEASURED = Measured(
    when="today", machine="two cores", caller_percent=0.02, packet_octets=226.0, set_up_ms=1.0, proxy_ms=0.2,
    proxy_rate=2000.0, report_us=10.0,
)  # fmt: skip
"""Round numbers: 250 octets on the wire with what is between frames."""
ASSUMED = Assumed(hold=50.0, reports=0.2, use=0.5, cores=8, card_gbits=10.0, card_packets=2e6, spare=0.1, price=0.05)


def test_the_tables_of_the_page_are_those_of_the_arithmetic() -> None:
    """If this fails: ``python3 -m bench.fleet arithmetic --page``."""
    assert page.part(page.PAGE.read_text(encoding="utf-8"), "arithmetic") == text(read_measured(), Assumed())


def test_a_million_people_on_hold() -> None:
    found = fleet(1_000_000, MEASURED, ASSUMED)
    assert (found.calls, found.packets, found.reports) == (20_000, 50_000_000, 200_000)
    assert found.gbits == pytest.approx(100.0)
    cores = (found.music_cores, found.set_up_cores, found.report_cores, found.proxy_cores)
    assert cores == pytest.approx((200.0, 20.0, 2.0, 4.0))
    assert found.servers == 222
    assert (found.limit, found.hosts) == ("cores", 56 + 6)  # 222 cores of 4 used ones each: 55.5
    assert found.proxies == 20 + 1
    assert found.core_seconds == pytest.approx(60 * 226 / 1e6)
    assert found.money == pytest.approx((62 * 8 + 42) * 0.05 / 1000)


@pytest.mark.parametrize(
    ("changed", "limit", "least"), [({"card_packets": 1e6}, "packets", 100), ({"card_gbits": 1.0}, "Gbit/s", 200)]
)
def test_the_hosts_follow_from_what_is_short(changed: dict[str, float], limit: str, least: int) -> None:
    found = fleet(1_000_000, MEASURED, replace(ASSUMED, **changed))  # type: ignore[arg-type]
    assert (found.limit, found.hosts) == (limit, least + least // 10)


def test_a_small_fleet_has_a_spare_host_and_a_spare_proxy() -> None:
    found = fleet(100, MEASURED, ASSUMED)
    assert (found.servers, found.hosts, found.proxies) == (1, 2, 2)


def test_what_one_core_and_one_gbit_serve() -> None:
    assert each_core(MEASURED) == pytest.approx((5000, 250_000))
    assert each_gbit(MEASURED) == pytest.approx((10_000, 500_000))


def test_more_people_never_need_less() -> None:
    fleets = [fleet(people, MEASURED, ASSUMED) for people in (1, *SIZES)]
    for smaller, larger in zip(fleets, fleets[1:]):
        assert smaller.hosts <= larger.hosts and smaller.proxies <= larger.proxies and smaller.money >= larger.money


def test_options_change_the_assumptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--hold", "600", "--cores", "16"]) == 0
    printed = capsys.readouterr().out
    assert "600 s" in printed and "16 cores" in printed
    assert main(["--price", "0"]) == 2


def test_a_part_of_a_page_is_replaced(tmp_path: Path) -> None:
    begin, end = page.marks("b")
    file = tmp_path / "page.md"
    file.write_text(f"before\n{begin}\nold\n\n{end}after\n", encoding="utf-8")
    page.write("b", "new\nlines", file)
    assert file.read_text(encoding="utf-8") == f"before\n{begin}\nnew\nlines\n\n{end}after\n"
    assert page.part(file.read_text(encoding="utf-8"), "b") == "new\nlines"
    with pytest.raises(ValueError, match="no part 'c'"):
        page.write("c", "new", file)


def test_the_page_names_the_day_and_the_machine() -> None:
    assert page.today("a note") == f"{page.today('')}, a note"
    assert "cores (" in page.machine() and "Linux" in page.machine()
    assert max(map(len, page.wrapped("word " * 100).splitlines())) <= 120
