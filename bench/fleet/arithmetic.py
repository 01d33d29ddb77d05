"""The arithmetic of a fleet, from what one machine was measured to do: ``python -m bench.fleet arithmetic``.

Each input is measured (``measured.json``, which ``python -m bench.fleet capacity --keep`` writes) or an assumption that
the table names. The functions do no input or output, but for ``main`` and ``read_measured``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common.figures import markdown
from bench.fleet import page

MEASURED = Path(__file__).with_name("measured.json")
SIZES = (10_000, 100_000, 1_000_000)
"""People on hold at once."""
PACKETS = 50
"""Packets that a caller gets a second: 20 ms of G.711 each."""
BETWEEN_FRAMES = 24
"""Octets of Ethernet that a network card does not count: checksum 4, preamble 8, gap 12."""


@dataclass(frozen=True)
class Measured:
    """What was measured on one machine."""

    when: str
    machine: str
    caller_percent: float
    """Processor time of one caller of the shared stream, the whole server's, in % of a core."""
    packet_octets: float
    """Octets of a packet of music, with its headers, as the virtual network card counts them."""
    set_up_ms: float
    """Processor time of the server for one call: INVITE, ACK, BYE."""
    proxy_ms: float
    """Processor time of Kamailio for one call."""
    proxy_rate: float
    """Calls a second that one Kamailio took."""
    report_us: float
    """Processor time of the server for one RTCP report."""


@dataclass(frozen=True)
class Assumed:
    """What cannot be measured here: other people's habits, hardware and prices."""

    hold: float = 60.0
    """Mean seconds on hold."""
    reports: float = 0.2
    """RTCP packets of a phone a second: one in 5 s (RFC 3550 §6.2)."""
    use: float = 0.5
    """The share of a core, of a network card and of a proxy that is used at the busiest time."""
    cores: int = 4
    """Cores of a host; each two of them run one server."""
    card_gbits: float = 10.0
    """Gbit/s of a host's network card."""
    card_packets: float = 1_000_000.0
    """Packets a second that the card and its driver send."""
    spare: float = 0.1
    """Hosts more than needed, as a share; at least one."""
    price: float = 0.04
    """Money for one core for one hour."""


@dataclass(frozen=True)
class Fleet:
    """A fleet for ``people`` on hold at once."""

    people: int
    calls: float
    """New calls a second."""
    packets: float
    """Packets of music a second."""
    gbits: float
    """Gbit/s of music on the wire, with Ethernet's preambles and gaps."""
    reports: float
    """RTCP packets that come in a second."""
    music_cores: float
    """Cores that the music takes, with nothing to spare."""
    set_up_cores: float
    report_cores: float
    proxy_cores: float
    servers: int
    """Servers, each on two cores."""
    hosts: int
    """Hosts for these servers, the spare ones included."""
    limit: str
    """What the number of hosts follows from."""
    proxies: int
    core_seconds: float
    """Processor time of one minute on hold, in seconds of a core."""
    money: float
    """The price of 1,000 hours on hold: all cores of all hosts and two for each proxy, used or not."""


def fleet(people: int, measured: Measured, assumed: Assumed) -> Fleet:
    """Return the fleet for ``people`` on hold at once."""
    calls, packets = people / assumed.hold, float(people * PACKETS)
    gbits = packets * (measured.packet_octets + BETWEEN_FRAMES) * 8 / 1e9
    reports = people * assumed.reports
    music, set_up = people * measured.caller_percent / 100, calls * measured.set_up_ms / 1000
    report, proxy = reports * measured.report_us / 1e6, calls * measured.proxy_ms / 1000
    needed = {
        "cores": (music + set_up + report) / (assumed.cores * assumed.use),
        "Gbit/s": gbits / (assumed.card_gbits * assumed.use),
        "packets": packets / (assumed.card_packets * assumed.use),
    }
    limit = max(needed, key=lambda name: needed[name])
    least = math.ceil(needed[limit])
    hosts = least + max(1, math.ceil(least * assumed.spare))
    proxies = math.ceil(calls / (measured.proxy_rate * assumed.use)) + 1
    cores = hosts * assumed.cores + 2 * proxies
    return Fleet(
        people, calls, packets, gbits, reports, music, set_up, report, proxy,
        math.ceil((music + set_up + report) / (2 * assumed.use)), hosts, limit, proxies,
        60 * (music + set_up + report + proxy) / people, cores * assumed.price * 1000 / people,
    )  # fmt: skip


def each_core(measured: Measured) -> tuple[float, float]:
    """Return how many callers and how many packets a second one core can serve if it does nothing else."""
    callers = 100 / measured.caller_percent
    return callers, callers * PACKETS


def each_gbit(measured: Measured) -> tuple[float, float]:
    """Return how many callers and packets a second go through one Gbit/s."""
    packets = 1e9 / ((measured.packet_octets + BETWEEN_FRAMES) * 8)
    return packets / PACKETS, packets


def inputs(measured: Measured, assumed: Assumed) -> str:
    """Return the table of the inputs in Markdown."""
    own = f"measured, {measured.when}"
    rows = [
        ["input", "value", "from"],
        ["a caller of the shared stream", f"{measured.caller_percent:.4f} % of a core", own],
        ["a call's set-up and end, at the server", f"{measured.set_up_ms:.2f} ms of a core", own],
        ["a call's set-up, at Kamailio", f"{measured.proxy_ms:.3f} ms of a core", own],
        ["calls that one Kamailio takes", f"{measured.proxy_rate:.0f} a second", own],
        ["an RTCP report, at the server", f"{measured.report_us:.0f} µs of a core", own],
        ["a packet, as the network card counts it", f"{measured.packet_octets:.0f} octets", own],
        ["between two frames of Ethernet", f"{BETWEEN_FRAMES} octets", "IEEE 802.3"],
        ["packets of a caller", f"{PACKETS} a second", "20 ms of G.711 in each"],
        ["RTCP of a phone", f"{assumed.reports:g} a second", "RFC 3550 §6.2; phones may send less"],
        ["a hold lasts", f"{assumed.hold:.0f} s", "assumption"],
        ["a core, a card and a proxy are used", f"{100 * assumed.use:.0f} %", "assumption: peaks, and failed hosts"],
        ["a host has", f"{assumed.cores} cores", "assumption"],
        ["its card sends", f"{assumed.card_gbits:g} Gbit/s", "assumption"],
        ["and at most", f"{assumed.card_packets:,.0f} packets a second", "assumption: a virtual card of a cloud"],
        ["spare hosts", f"{100 * assumed.spare:.0f} %, at least one", "assumption"],
        ["a core for an hour", f"{assumed.price:g}", "assumption, in any money"],
    ]
    return markdown(rows)


def results(fleets: Sequence[Fleet]) -> str:
    """Return the table of the fleets in Markdown, one column each."""
    lines = [
        ("people on hold", "people", "{:,}"), ("new calls a second", "calls", "{:,.0f}"),
        ("packets a second", "packets", "{:,.0f}"), ("Gbit/s", "gbits", "{:,.2f}"),
        ("RTCP packets a second, coming in", "reports", "{:,.0f}"), ("cores for music", "music_cores", "{:,.1f}"),
        ("cores for set-up", "set_up_cores", "{:,.2f}"), ("cores for RTCP", "report_cores", "{:,.2f}"),
        ("cores for proxies", "proxy_cores", "{:,.2f}"), ("servers, of two cores each", "servers", "{:,}"),
        ("hosts, spare ones included", "hosts", "{:,}"), ("what the hosts follow from", "limit", "{}"),
        ("proxies, a spare one included", "proxies", "{:,}"),
        ("core-seconds for a minute on hold", "core_seconds", "{:.4f}"),
        ("price of 1,000 hours on hold", "money", "{:.3f}"),
    ]  # fmt: skip
    return markdown([[title, *(form.format(getattr(one, name)) for one in fleets)] for title, name, form in lines])


def units(measured: Measured) -> str:
    """Return what one core and one Gbit/s serve, as a table in Markdown."""
    rows = [["", "callers", "packets a second"]]
    for name, (callers, packets) in (("one core", each_core(measured)), ("one Gbit/s", each_gbit(measured))):
        rows.append([name, f"{callers:,.0f}", f"{packets:,.0f}"])
    return markdown(rows)


def text(measured: Measured, assumed: Assumed) -> str:
    """Return all tables, as ``docs/scale.md`` has them."""
    fleets = [fleet(people, measured, assumed) for people in SIZES]
    return "\n\n".join([
        f"Measured on {measured.machine}:", inputs(measured, assumed), "So one core and one Gbit/s serve:",
        units(measured), "And a fleet needs:", results(fleets),
    ])  # fmt: skip


def read_measured(path: Path = MEASURED) -> Measured:
    """Read the measured inputs."""
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Measured(**known)


def main(options: Sequence[str]) -> int:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fleet arithmetic", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    for name, of in Assumed.__annotations__.items():
        default = getattr(Assumed(), name)
        kind = int if of == "int" else float
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help="(%(default)s)")
    parser.add_argument("--page", action="store_true", help=f"write the tables into {page.PAGE.name}")
    given = vars(parser.parse_args(options))
    into_page = given.pop("page")
    if not all(value > 0 for value in given.values()):
        print("expected numbers above 0", file=sys.stderr)
        return 2
    tables = text(read_measured(), Assumed(**given))
    print(tables)
    if into_page:
        page.write("arithmetic", tables)
    return 0
