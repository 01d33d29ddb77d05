"""The networks of ``bench.playing.engines``: the loopback, or a pair of virtual network cards (``veth``)."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Protocol

from bench.common.farm import Farm
from bench.playing.methods import SENDERS, free_pairs
from moh.ffmpeg.launch import leash

PATIENCE = 5.0
"""Seconds that a network namespace may take until it exists."""
PORTS = range(20000, 24000, 2)
"""The search for a free port for the callers begins at one of these."""


class Topology(Protocol):
    """A network. ``local`` is the sender's address, ``first`` the address of the first caller.

    ``prefix`` stands before a command that has to run at the sender's end.
    """

    name: str
    prefix: list[str]
    local: str
    first: str

    def farm(self, program: str, callers: int, seconds: float) -> Farm:
        """Start the farm that receives the packets of the callers."""

    def local_ports(self, count: int) -> list[int]:
        """Return ``count`` even ports to send from. They and the ports above them are free."""

    def close(self) -> None:
        """Remove the network."""


class Loopback:
    """The loopback. Each address of 127.1.0.0/16 is a caller, and the farm receives the packets of all.

    The kernel does the work of receiving in the sender's time.
    """

    name, local, first = "loopback", "127.0.0.1", "127.1.0.0"

    def __init__(self) -> None:
        self.prefix: list[str] = []

    def farm(self, program: str, callers: int, seconds: float) -> Farm:
        """Start a farm that receives the packets of all callers."""
        return Farm(program, [], "udp", self.first, callers, 1, seconds, random.choice(PORTS))

    def local_ports(self, count: int) -> list[int]:
        """See ``Topology``."""
        return free_pairs(random.choice(SENDERS), count)

    def close(self) -> None:
        """Do nothing: the loopback stays."""


class Veth:
    """Two network namespaces with a virtual cable between them. The far namespace drops all packets.

    The callers are behind a router whose hardware address no host has. So the far kernel drops each packet as one for
    another host, which costs less than any filter. Before that, the farm sees the packet; it counts the packets of each
    16th caller. Two processes hold the namespaces, which have no name. When these processes die, at the latest with
    this one, the namespaces and the cable are gone.
    """

    name, local, first = "veth", "10.80.0.1", "10.81.0.0"
    EACH = 16

    def __init__(self) -> None:
        """Make the network. Raises ``RuntimeError`` with the reason if this is not possible."""
        self._holders: list[subprocess.Popen[bytes]] = []
        missing = [program for program in ("unshare", "nsenter", "ip") if not shutil.which(program)]
        if os.geteuid() != 0 or missing or not leash(os.getpid()):
            raise RuntimeError(f"needs root, setpriv and {', '.join(missing) or 'ip'}")
        try:
            self.prefix, self._far = self._namespace(), self._namespace()
            far_holder = str(self._holders[1].pid)
            self._run(self.prefix, "ip link add out type veth peer name in netns " + far_holder)
            self._run(self._far, "ip link set in address 02:00:00:00:00:02")
            self._run(self._far, "ip link set in up")
            self._run(self.prefix, f"ip addr add {self.local}/30 dev out")
            self._run(self.prefix, "ip link set lo up")
            self._run(self.prefix, "ip link set out up")
            self._run(self.prefix, "ip neigh add 10.80.0.2 lladdr 02:00:00:00:00:03 dev out nud permanent")
            self._run(self.prefix, f"ip route add {self.first}/16 via 10.80.0.2")
        except BaseException:
            self.close()
            raise

    def _namespace(self) -> list[str]:
        """Make a network namespace. Return the prefix of a command that runs in it."""
        holder = subprocess.Popen(
            [*leash(os.getpid()), "unshare", "--net", "sleep", "86400"], stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._holders.append(holder)
        path, give_up = f"/proc/{holder.pid}/ns/net", time.monotonic() + PATIENCE
        while os.readlink(path) == os.readlink("/proc/self/ns/net") or _program(holder.pid) != "sleep":
            if holder.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError("the kernel gives no network namespace")
            time.sleep(0.01)
        return ["nsenter", f"--net={path}", "--"]

    def _run(self, prefix: list[str], command: str) -> None:
        done = subprocess.run(
            [*prefix, *command.split()], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr.strip()}")

    def farm(self, program: str, callers: int, seconds: float) -> Farm:
        """Start a farm that counts the packets of each 16th caller at the far end."""
        return Farm(program, self._far, "packet:in", self.first, callers, self.EACH, seconds, 20000)

    def local_ports(self, count: int) -> list[int]:
        """See ``Topology``. All ports of the new namespace are free."""
        return list(range(26000, 26000 + 2 * count, 2))

    def close(self) -> None:
        """End the two processes. The namespaces and the cable end with them."""
        for holder in self._holders:
            holder.kill()
            holder.wait()


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
