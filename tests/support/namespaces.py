"""Network namespaces of the tests, and the removal of those that a killed test run left behind. Needs root, and ``ip``.

A namespace that is left behind keeps its link, and the link keeps its route: packets of the next run would go there.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

OURS = re.compile(r"moh-([a-z]+)-(\d+)")
"""The name of a namespace: what it is for, and the number of the process that made it."""


_depth = 0
"""How often this process has the lock of ``addresses_stay``."""


class Linked(NamedTuple):
    """A network namespace with a link to the test."""

    name: str
    wire: str
    """The end of the link outside the namespace. The other end is "eth0"."""


def ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True)


def run(*words: str) -> None:
    """Run a command. Skips the test where it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot make a network namespace: {' '.join(words)}: {done.stderr.strip()}")


def remove(name: str, *wires: str) -> None:
    ip("netns", "del", name)
    for wire in wires:
        ip("link", "del", wire)


def sweep() -> None:
    """Remove the namespaces and links of processes that have ended."""
    for line in ip("netns", "list").stdout.splitlines():
        if (ours := OURS.fullmatch(line.split()[0])) and not Path("/proc", ours[2]).exists():
            remove(ours[0], wire(ours[1], ours[2]))


def wire(use: str, pid: object) -> str:
    """Return the name of a link. It is unique, and short enough for the kernel's 15 characters."""
    return f"m{use[0]}{pid}"


@contextmanager
def namespaces(*uses: str) -> Iterator[list[str]]:
    """Make a namespace for each use, with its loopback up; yields their names, and removes them at the end."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root, and ip to make network namespaces: apt-get install iproute2")
    sweep()
    names = [f"moh-{use}-{os.getpid()}" for use in uses]
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for use, name in zip(uses, names):
            remove(name, wire(use, os.getpid()))


@contextmanager
def addresses_stay() -> Iterator[None]:
    """Keep all other test processes from giving this machine an address: a link of theirs looks like a container's."""
    global _depth
    if _depth:
        yield
        return
    folder = os.open(tempfile.gettempdir(), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        _depth = 1
        yield
    finally:
        _depth = 0
        os.close(folder)  # which ends the lock, as the end of the process does


@contextmanager
def linked(use: str, inside: str, outside: str) -> Iterator[Linked]:
    """Make one namespace that has the address ``inside``, and a link to it that has ``outside``, in one /24."""
    with addresses_stay(), namespaces(use) as (name,):
        link = wire(use, os.getpid())
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"{outside}/24", "dev", link)
        run("ip", "link", "set", link, "up")
        run("ip", "-n", name, "addr", "add", f"{inside}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        route = ip("route", "get", inside).stdout.split("\n")[0]
        assert f" dev {link} " in route, f"another test run uses this network: {route.strip()}; wait for its end"
        yield Linked(name, link)
