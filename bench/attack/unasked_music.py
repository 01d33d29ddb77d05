"""Mbit/s of music that one public address causes towards hosts that never asked for it: part of ``amplification``.

The server has a network namespace of its own, because on one machine all addresses would be the server's own. In the
namespace of this process, which is the internet, an attacker calls at the rate of one address. The hosts to which it
has music sent have an open port and send nothing. The figures are IP packets, counted by the kernel.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.attack.scene import HEAD, OFFER, SERVER
from bench.common.processes import end
from bench.common.program import environment
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN

ATTACKER = "203.0.113.130"
HOSTS = "198.18.0.0/24"
"""The hosts that get the music. This process has all addresses of the network."""
RATE = 18.0
"""The attacker makes ``BURST`` calls at once, then ``RATE`` a second. The server allows 200 at once and 20 a second."""
BURST = 180
START = 60.0
"""Seconds that the server may take until it is ready."""
ANSWER = 0.5
"""Seconds that the attacker waits for an answer."""
SETTLE = 3.0
"""Seconds from the last call to the count, so that each ffmpeg has started."""
COUNT = 5.0
"""Seconds of music that are counted."""
ETHERNET = 14
"""Octets of the Ethernet header of each packet. They do not count."""
RTP = b"\x80\x00" + bytes(170)


@dataclass
class Attack:
    """One attack, and the music that it brings."""

    name: str
    hosts: int
    """The number of hosts that the calls name in turn."""
    calls: int
    forges: bool = False
    """Whether the attacker first sends one RTP packet with the forged address of each host."""
    settings: tuple[tuple[str, str], ...] = ()
    octets: int = 0
    """Octets of SIP that the attacker sent."""
    accepted: int = 0
    mbits: float = 0.0

    def host(self, number: int) -> str:
        """Return the host that call ``number`` names."""
        return f"198.18.0.{number % self.hosts + 1}"

    def message(self, method: str, number: int, tag: str = "", branch: str = "") -> bytes:
        """Return a request that is as short as possible."""
        body = OFFER.format(host=self.host(number), formats="0") if method == "INVITE" else ""
        head = HEAD.format(method=method, host=ATTACKER, server=SERVER[0], number=number, tag=tag, via="")
        head = head.replace(f"z9hG4bK{number}", f"z9hG4bK{branch or method}{number}")
        return (head + ("Content-Type: application/sdp\r\n" if body else "") + "\r\n" + body).encode()


def attacks() -> list[Attack]:
    """Return all attacks."""
    return [
        Attack("one silent host", 1, 400),
        Attack("64 silent hosts in turn", 64, 400),
        Attack("one silent host, after one RTP packet with its forged address", 1, 400, forges=True),
        Attack("one silent host, named by `MOH_ALLOW_MEDIA`", 1, 400, settings=(("MOH_ALLOW_MEDIA", HOSTS),)),
    ]


def run(*words: str) -> None:
    """Run a command. Raises ``CalledProcessError`` if it fails."""
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


def received() -> tuple[int, int]:
    """Return the octets and packets that have come from the server, counted by the kernel."""
    found = re.search(r"^\s*in:\s*(\d+)\s+(\d+)", Path("/proc/thread-self/net/dev").read_text(), re.MULTILINE)
    assert found, "the interface is there"
    return int(found[1]), int(found[2])


def call(sock: socket.socket, attack: Attack, number: int) -> bool:
    """Make one call. Return whether it was accepted. A call that is not answered in time is given up."""
    invite = attack.message("INVITE", number)
    sock.sendto(invite, SERVER)
    attack.octets += len(invite)
    give_up = time.monotonic() + ANSWER
    while (left := give_up - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            answer = sock.recv(65535).decode()
        except socket.timeout:
            return False
        if f"\r\nCall-ID: {number}\r\n" not in answer or answer.startswith("SIP/2.0 1"):
            continue
        accepted = answer.startswith("SIP/2.0 200")
        tag = answer.partition("\r\nTo: ")[2].partition("\r\n")[0].partition(">")[2]
        # the ACK of a refusal has the branch of its INVITE; without the ACK, the server would repeat the refusal, and
        # the repeats would count as music
        ack = attack.message("ACK", number, tag, "" if accepted else "INVITE")
        sock.sendto(ack, SERVER)
        attack.octets += len(ack)
        return accepted
    return False


def carry_out(attack: Attack) -> None:
    """Make all calls, then count the music."""
    with ExitStack() as stack:
        hosts = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(attack.hosts)]
        for number, host in enumerate(hosts):
            host.bind((attack.host(number), 4000))
            if attack.forges:
                host.sendto(RTP, (SERVER[0], 10100))
        if attack.forges:
            time.sleep(SETTLE)  # without calls the server reads the shared port only once a second
        attacker = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        attacker.bind((ATTACKER, 5060))
        began = time.monotonic()
        for number in range(attack.calls):
            time.sleep(max(0.0, began + (number - BURST) / RATE - time.monotonic()))
            attack.accepted += call(attacker, attack, number)
        time.sleep(SETTLE)
        (octets, packets), began = received(), time.monotonic()
        time.sleep(COUNT)
        octets, packets = (now - before for now, before in zip(received(), (octets, packets)))
        attack.mbits = 8 * (octets - ETHERNET * packets) / (time.monotonic() - began) / 1e6


def measure(script: Path) -> str:
    """Carry out all attacks, each on a server of its own. Return the table in Markdown."""
    holder = subprocess.Popen([*leash(os.getpid()), "unshare", "--net", "sleep", "86400"], stdin=subprocess.DEVNULL)
    try:
        inside = ("nsenter", f"--net=/proc/{holder.pid}/ns/net", "--")
        while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        run("ip", "address", "flush", "dev", "lo")  # the other cases have had the server's address here
        run("ip", "link", "add", "in", "type", "veth", "peer", "name", "out", "netns", str(holder.pid))
        run("ip", "link", "set", "in", "up")
        run("ip", "route", "add", f"{SERVER[0]}/32", "dev", "in")
        for network in (HOSTS, f"{ATTACKER}/32"):
            run("ip", "route", "add", "local", network, "dev", "lo")
        run(*inside, "ip", "link", "set", "lo", "up")
        run(*inside, "ip", "address", "add", f"{SERVER[0]}/32", "dev", "out")
        run(*inside, "ip", "link", "set", "out", "up")
        run(*inside, "ip", "route", "add", "default", "dev", "out")
        done = attacks()
        for attack in done:
            against_a_server(attack, script, list(inside))
        return table(done)
    finally:
        end([holder], 1)


def against_a_server(attack: Attack, script: Path, inside: list[str]) -> None:
    """Carry out ``attack`` on a new server. Raises ``RuntimeError`` if the server does not start."""
    with tempfile.TemporaryDirectory(prefix="moh-bench-") as folder:
        settings = environment(
            MOH_SIP_PORT=SERVER[1], MOH_CACHE=folder, MOH_MUSIC=BUILTIN, MOH_RTP_PORTS="10000-10100",
            **dict(attack.settings),
        )  # fmt: skip
        log = Path(folder) / "log"
        with log.open("wb") as out:
            command = [*inside, *leash(os.getpid()), sys.executable, str(script)]
            server = subprocess.Popen(command, env=settings, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            give_up = time.monotonic() + START
            while "ready:" not in log.read_text():
                if server.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f"the server does not start: {log.read_text()[-500:]}")
                time.sleep(0.1)
            carry_out(attack)
        finally:
            end([server], 10)


def table(done: list[Attack]) -> str:
    """Return the table of all attacks in Markdown."""
    rows = [
        "| music of one public address to | INVITEs | octets of SIP | calls accepted | Mbit/s |",
        "|---|--:|--:|--:|--:|",
    ]
    rows += [
        f"| {attack.name} | {attack.calls} | {attack.octets} | {attack.accepted} | {attack.mbits:.1f} |"
        for attack in done
    ]
    return "\n".join(rows)
