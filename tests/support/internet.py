"""Two network namespaces: a server with a public address, and an internet where the test has every address it likes.

On one machine all addresses are those of the machine itself, and a server allows its own machine more than others. The
thread that enters the internet has all its new sockets there. Needs root, and ``ip`` of iproute2.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.namespaces import namespaces, run

SERVER = "203.0.113.1"
CALLER = "203.0.113.130"
SILENT = "198.51.100.7"
"""A host that receives what is sent to it, and sends nothing unless the test does."""
LOCAL = ("203.0.113.128/25", "198.51.100.0/24", "198.18.0.0/15", "10.77.0.0/16")
"""The networks whose addresses the test may use; packets to all other addresses vanish."""
CLONE_NEWNET = 0x40000000


@contextmanager
def internet() -> Iterator[list[str]]:
    """Put this thread into the internet; yields the command that runs the server at ``SERVER``."""
    with namespaces("server", "internet") as (near, far):
        run("ip", "-n", near, "link", "add", "out", "type", "veth", "peer", "name", "in", "netns", far)
        run("ip", "-n", near, "addr", "add", f"{SERVER}/32", "dev", "out")
        run("ip", "-n", near, "link", "set", "out", "up")
        run("ip", "-n", near, "route", "add", "default", "dev", "out")
        run("ip", "-n", far, "link", "set", "in", "up")
        run("ip", "-n", far, "route", "add", f"{SERVER}/32", "dev", "in")
        for network in LOCAL:
            run("ip", "-n", far, "route", "add", "local", network, "dev", "lo")
        with entered(far):
            yield ["ip", "netns", "exec", near]


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Put this thread, and no other, into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(Path("/run/netns") / name, os.O_RDONLY)
        try:
            if libc.setns(there, CLONE_NEWNET):
                pytest.skip(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(there)
        try:
            yield
        finally:
            assert libc.setns(home, CLONE_NEWNET) == 0, "the tests after this one would be in the wrong network"
    finally:
        os.close(home)
