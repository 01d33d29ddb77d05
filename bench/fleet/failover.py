"""What new calls and calls that are up notice when a server of a fleet fails: ``python -m bench.fleet failover``.

Kamailio with ``deploy/kamailio`` stands in front of four servers of this project, each at an address of its own on the
loopback. SIPp makes calls that come and go, and a program in C receives the music of each. Then the first server is
killed (-9) and started again 15 s later, the second one drains (SIGUSR2) and takes calls again 20 s later, and the
third one stands still for 8 s (SIGSTOP, SIGCONT). This needs SIPp, Kamailio and a C compiler. Nothing leaves the
machine.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.common.command_line import add_plot, check_plot, end_on_signals
from bench.common.compiler import compiled
from bench.common.processes import await_quiet, prefer, share, used
from bench.fleet import page
from bench.fleet.events import Event, Outcome, bins, outcome, table
from bench.fleet.heard import FIRST, SOURCE, Heard, Receiver
from bench.fleet.members import PHONE, PROXY, SIP_PORT, Member, proxy, server, server_address
from bench.fleet.phones import Call, Phones

MUSIC_PORT = 26900
"""The port at which all music arrives."""
SERVERS = 4
BEFORE = 10.0
"""Seconds with all servers before the first event; the processor time is that of these seconds."""
WINDOW = 25.0
"""Seconds from one event to the next, which are the calls that count for it. A drain takes ``DRAINED`` more."""
BACK, STILL, DRAINED = 15.0, 8.0, 30.0
"""Seconds until the killed server starts again, that the stopped one stands still, and that one drains."""


def arguments(options: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fleet failover", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--calls", type=int, default=2000, help="calls at once, of all servers (%(default)s)")
    parser.add_argument("--hold", type=float, default=20.0, help="mean seconds of a call (%(default)s)")
    parser.add_argument("--python", default=sys.executable, help="the Python of the servers (%(default)s)")
    parser.add_argument("--nice", type=int, default=0, help="niceness of all that is measured; below 0 needs root")
    parser.add_argument("--quiet", type=float, default=20.0, metavar="PERCENT", help=argparse.SUPPRESS)
    parser.add_argument(
        "--patience", type=float, default=5.0, help="longest wait for a quiet machine, in seconds (%(default)s)"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the logs of all processes there")
    page.add_note(parser)
    parser.add_argument("--page", action="store_true", help=f"write the figures into {page.PAGE.name}")
    add_plot(parser)
    given = parser.parse_args(options)
    check_plot(parser, given)
    if not 20 <= given.calls <= 10000 or not 4 <= given.hold <= 60:
        parser.error("expected 20 to 10000 calls of 4 to 60 s")
    if given.calls / given.hold * length(given.hold) > 60000:
        parser.error(f"{given.calls} calls of {given.hold:g} s are more than 60000 calls in all")
    if not shutil.which("kamailio"):
        parser.error("this needs Kamailio (Debian's package kamailio)")
    return given


def length(hold: float) -> float:
    """Return the seconds during which new calls begin: until all are up, and then the events."""
    return 1.5 * hold + BEFORE + WINDOW + WINDOW + DRAINED + WINDOW


class Fleet:
    """The servers and the proxy, all in ``folder``, with the events that can happen to them."""

    def __init__(self, folder: Path, python: str, nice: int) -> None:
        self.servers = [server(number + 1, folder, python) for number in range(SERVERS)]
        self.proxy = proxy(folder, [one.address for one in self.servers])
        self._nice = nice

    def start(self) -> None:
        """Start all; the first server converts the music for all."""
        for one in [*self.servers, self.proxy]:
            one.start()
            one.await_ready(PHONE)
            self._prefer(one)

    def _prefer(self, one: Member) -> None:
        if self._nice:
            prefer(one.processes(), self._nice)

    def killed(self) -> None:
        """Kill the first server without warning."""
        self.servers[0].signal(signal.SIGKILL)

    def back(self) -> None:
        """Start the first server again, as systemd or Docker would."""
        self.servers[0].close()
        self.servers[0].start()
        self._prefer(self.servers[0])

    def drained(self) -> None:
        """The second server takes no more calls, or takes them again."""
        self.servers[1].signal(signal.SIGUSR2)

    def stopped(self) -> None:
        """The third server stands still."""
        self.servers[2].signal(signal.SIGSTOP)

    def continued(self) -> None:
        """The third server goes on."""
        self.servers[2].signal(signal.SIGCONT)

    def close(self) -> None:
        """End all processes."""
        for one in [self.proxy, *self.servers]:
            one.close()


def timetable(fleet: Fleet, begin: float) -> list[tuple[float, str, int, Callable[[], None]]]:
    """Return what happens when: the moment, its name, the number of the server, and what does it."""
    kill, drain, stop = begin, begin + WINDOW, begin + 2 * WINDOW + DRAINED
    return [
        (kill, "kill -9", 0, fleet.killed), (kill + BACK, "back", 0, fleet.back),
        (drain, "drain", 1, fleet.drained), (drain + DRAINED, "takes calls", 1, fleet.drained),
        (stop, "stop", 2, fleet.stopped), (stop + STILL, "continue", 2, fleet.continued),
    ]  # fmt: skip


def run(given: argparse.Namespace, folder: Path) -> tuple[list[Call], Heard, list[Event], str]:
    """Make the calls and the events. Return the calls, what they heard, what happened, and the processor times."""
    program, rate = compiled(SOURCE, folder), given.calls / given.hold
    count, lasts = int(rate * length(given.hold)), length(given.hold)
    fleet, first = Fleet(folder, given.python, given.nice), int(ipaddress.ip_address(FIRST))
    print(f"This takes {(lasts + 1.5 * given.hold + 20) / 60:.1f} minutes.", file=sys.stderr)
    with ExitStack() as stack:
        stack.callback(fleet.close)
        fleet.start()
        await_quiet(given.quiet, given.patience)
        receiver = Receiver(program, count, MUSIC_PORT, lasts + 1.5 * given.hold + 60)
        stack.callback(receiver.close)
        hosts = [str(ipaddress.ip_address(first + number)) for number in range(count)]
        phones = Phones(
            (PROXY, SIP_PORT), PHONE, hosts, MUSIC_PORT, rate, count, 0.5 * given.hold, 1.5 * given.hold, folder
        )  # fmt: skip
        stack.callback(phones.close)
        if given.nice:
            prefer([phones.pid, receiver.pid], given.nice)
        time.sleep(1.5 * given.hold)
        phones.check()
        processes = {"server": fleet.servers[3].pid, "Kamailio": fleet.proxy.pid, "SIPp": phones.pid}
        processes["receiver"] = receiver.pid
        begun, spent = time.time(), used(processes.values())
        time.sleep(BEFORE)
        spent_after = used(processes.values())
        cpu = {name: share({0: spent[pid]}, {0: spent_after[pid]}) for name, pid in processes.items()}
        moments = [Event("all servers", "", begun, time.time())]
        for at, name, number, what in timetable(fleet, time.monotonic()):
            time.sleep(max(0.0, at - time.monotonic()))
            what()
            moments.append(Event(name, server_address(number + 1), time.time(), 0.0))
            print(f"{name}: server {number + 1}", file=sys.stderr)
        time.sleep(WINDOW - STILL)
        ended = time.time()
        phones.wait(1.5 * given.hold + 10)
        phones.close()
        heard = receiver.result()
        calls = phones.calls()
    listed = ", ".join(f"{name} {percent:.0f} %" for name, percent in cpu.items())
    return calls, heard, with_ends(moments, ended), f"Of a core before the events: {listed}."


def with_ends(moments: Sequence[Event], ended: float) -> list[Event]:
    """Return the moments, each with its end: when the next event begins. What ends an event is none itself."""
    events = [event for event in moments if event.name not in ("back", "takes calls", "continue")]
    ends = [*(event.at for event in events[1:]), ended]
    until = dict(zip(events, ends))
    return [event._replace(until=until.get(event, event.at)) for event in moments]


def summary(
    given: argparse.Namespace, outcomes: Sequence[Outcome], calls: Sequence[Call], heard: Heard, spent: str
) -> str:
    """Return the table, and a paragraph on the whole run."""
    failed = sum(call.answered is None for call in calls)
    whole = (
        f"{given.calls:,} calls at once of {0.5 * given.hold:.0f} to {1.5 * given.hold:.0f} s, "
        f"{given.calls / given.hold:.0f} new ones a second, {len(calls):,} in all, of which {failed} failed. The "
        f"receiver missed {heard.dropped} packets; {heard.twice} calls got music from two servers. {spent}"
    )
    return f"{page.today(given.note)}; {page.machine()}.\n\n{table(outcomes)}\n\n{page.wrapped(whole)}"


def main(options: Sequence[str]) -> int:
    """Make the calls and the events, print the table, and draw it."""
    end_on_signals()
    given = arguments(options)
    try:
        if given.nice:
            prefer([os.getpid()], given.nice)
        with tempfile.TemporaryDirectory(prefix="moh-bench-") as temporary:
            folder = given.keep.absolute() if given.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            calls, heard, moments, cpu = run(given, folder)
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    outcomes = [outcome(event, calls, heard) for event in moments if event.until > event.at]
    text = summary(given, outcomes, calls, heard, cpu)
    print(text)
    if given.page:
        page.write("failover", text)
    if given.plot:
        from bench.fleet.picture import draw

        servers = [server_address(number + 1) for number in range(SERVERS)]
        draw(bins(calls, heard, servers), calls, moments[1:], servers, given.plot)
    return 0
