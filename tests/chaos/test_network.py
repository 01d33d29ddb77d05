"""End to end: a wire that loses, doubles, delays and reorders, and one that is cut for a while.

The wire is a relay of our own for SIP, or for RTP and RTCP; where the kernel has it, netem between two network
namespaces for all of it.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from conftest import StartServer
from tests.chaos.crew import ENGINES, SLOW, BadWire, Held, Rest, all_hear, hang_up, insist
from tests.support.phone import Ear, Phone
from tests.support.running import Running, free_ports, wait_for

INSIDE, OUTSIDE = "10.213.77.2", "10.213.77.1"
"""The server's address and ours; private, so the music starts with the 200."""

GOODBYE = bytes.fromhex("80c9000100000007 81cb000100000007")
"""A listener takes leave: an empty receiver report, then BYE (RFC 3550 §6.6)."""


def over_a_bad_wire(server: Running, address: tuple[str, int], count: int, host: str) -> None:
    """Calls whose phones send everything again until it is answered, as they have to; all of them end by BYE."""
    with ExitStack() as stack:
        held = []
        for _ in range(count):
            phone, ear = stack.enter_context(Phone(address, host)), stack.enter_context(Ear(host))
            answer = insist(phone, phone.invite(ear.address))
            assert answer.status == 200
            phone.to_tag = answer.to_tag
            for _ in range(5):
                phone.ack()
            held.append(Held(phone, ear, answer.media[1]))
        all_hear(held)
        for one in held[::2]:
            assert insist(one.phone, one.phone.request("BYE")).status in (200, 481)
        all_hear(held[1::2])
        server.terminate()  # the BYEs of the server have to get through as well, or be given up
        for one in held[1::2]:
            assert one.ear.falls_silent()
        assert server.exit_status() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_thirty_percent_lost_some_doubled_all_late_and_out_of_order(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    with BadWire(server.address, seed=7) as wire:
        over_a_bad_wire(server, wire.address, 10, "127.0.0.1")
        print(f"{wire.dropped} of {wire.seen} datagrams were lost")
    assert "Traceback" not in server.log


def test_who_is_cut_off_in_a_bad_moment_is_let_go(start_server: StartServer) -> None:
    """Nothing at all comes through after the INVITE: no ACK, no BYE; the listener's port closes."""
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with BadWire(server.address, seed=8, lost=0.0) as wire, Phone(wire.address) as phone, Ear() as ear:
        phone.call(ear.address)
        ear.packets(1)
    server.says("port unreachable at 127.0.0.1:")
    wait_for(lambda: not server.ffmpegs, "its end")
    rest.returns()


@contextmanager
def far_away(ear: Ear, seed: int) -> Iterator[tuple[BadWire, BadWire]]:
    """A bad wire before the ear, for RTP and for RTCP on the next port: what the server is told to send to."""
    host, port = ear.address
    first = free_ports(2)
    with BadWire(ear.address, seed, port=first) as rtp, BadWire((host, port + 1), seed + 1, port=first + 1) as rtcp:
        yield rtp, rtcp


@pytest.mark.parametrize("engine", ENGINES)
def test_music_over_such_a_wire_is_one_stream_with_gaps_and_goes_on(start_server: StartServer, engine: str) -> None:
    """What is lost of it is lost, and the server does not mind; what comes is in order by its numbers."""
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    rest = Rest(server)
    with Phone(server.address) as phone, Ear() as ear, far_away(ear, seed=9) as (wire, _):
        phone.call(wire.address)
        heard = ear.packets(100)
        assert len({packet.ssrc for packet in heard}) == 1
        first = heard[0]
        for packet in heard:  # numbers and timestamps wrap; half way round is before
            number = (packet.sequence - first.sequence + 0x8000) % 0x10000 - 0x8000
            assert (packet.timestamp - first.timestamp - 160 * number) % 2**32 == 0
        assert len({packet.sequence for packet in heard}) < 100, "none came twice"
        assert [packet.sequence for packet in heard] != sorted(packet.sequence for packet in heard), "all in order"
        assert phone.bye().status == 200
        print(f"{wire.dropped} of {wire.seen} packets were lost")
    rest.is_well()
    assert "Traceback" not in server.log


@pytest.mark.parametrize("engine", ENGINES)
def test_an_rtcp_bye_gets_through_such_a_wire_or_is_sent_again(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    rest = Rest(server)
    with Phone(server.address) as phone, Ear() as ear, far_away(ear, seed=10) as (wire, control):
        phone.call(wire.address)
        ear.packets(10)
        back = ear.report()[1]  # the end of the wire, which knows the way on to the server
        for _ in range(10):
            ear.send_rtcp(GOODBYE, back)
        phone.await_request("BYE", SLOW)
        server.says("the receiver sent RTCP BYE")
        print(f"{control.dropped} of {control.seen} datagrams of RTCP were lost")
    rest.is_well()


# -- in a network namespace ----------------------------------------------------------------------------------------


def ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network of its own for the server, with a wire to us; gone at the end, whatever happens."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and ip (iproute2), to make a network namespace")
    name, wire = f"moh-chaos-{os.getpid()}", f"moh{os.getpid()}"
    if (made := ip("netns", "add", name)).returncode != 0:
        pytest.skip(f"cannot make a network namespace: {made.stderr.strip()}")
    try:
        for words in (
            ["link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name],
            ["addr", "add", f"{OUTSIDE}/24", "dev", wire], ["link", "set", wire, "up"],
            ["-n", name, "addr", "add", f"{INSIDE}/24", "dev", "eth0"], ["-n", name, "link", "set", "eth0", "up"],
            ["-n", name, "link", "set", "lo", "up"],
        ):  # fmt: skip
            if (done := ip(*words)).returncode != 0:
                pytest.skip(f"cannot wire a network namespace: {done.stderr.strip()}")
        yield name
    finally:
        ip("netns", "del", name)
        ip("link", "del", wire)


def inside(start_server: StartServer, name: str, engine: str) -> Running:
    server = start_server(
        before=["ip", "netns", "exec", name], MOH_BIND="0.0.0.0", MOH_FFMPEG_CALLS=engine, MOH_LOG="info"
    ).ready()
    server.address = (INSIDE, server.port)
    return server


def calls_from_outside(server: Running, count: int, stack: ExitStack) -> list[Held]:
    held = []
    for _ in range(count):
        phone, ear = stack.enter_context(Phone(server.address, OUTSIDE)), stack.enter_context(Ear(OUTSIDE))
        held.append(Held(phone, ear, phone.call(ear.address).media[1]))
    all_hear(held)
    return held


@pytest.mark.parametrize("engine", ENGINES)
def test_netem_loses_doubles_and_reorders_all_of_it(start_server: StartServer, namespace: str, engine: str) -> None:
    bad = ["delay", "500ms", "200ms", "loss", "30%", "duplicate", "10%", "reorder", "25%"]
    words = ["tc", "-n", namespace, "qdisc", "add", "dev", "eth0", "root", "netem", *bad]
    made = subprocess.run(words, capture_output=True, text=True) if shutil.which("tc") else None
    if made is None or made.returncode != 0:
        pytest.skip(f"the kernel has no netem: {made.stderr.strip() if made else 'no tc'}")
    server = inside(start_server, namespace, engine)
    over_a_bad_wire(server, server.address, 6, OUTSIDE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("end", ["ours", "the server's"])
def test_a_wire_that_is_cut_and_mended(start_server: StartServer, namespace: str, engine: str, end: str) -> None:
    server = inside(start_server, namespace, engine)
    which = ["link", "set", f"moh{os.getpid()}"] if end == "ours" else ["-n", namespace, "link", "set", "eth0"]
    with ExitStack() as stack:
        held = calls_from_outside(server, 4, stack)
        assert ip(*which, "down").returncode == 0
        time.sleep(3.0)
        assert ip(*which, "up").returncode == 0
        wait_for(lambda: can_reach(server), "the server", SLOW)
        all_hear(held)
        hang_up(held)
    assert "Traceback" not in server.log
    server.terminate()
    assert server.exit_status() == 0


def can_reach(server: Running) -> bool:
    with Phone(server.address, OUTSIDE) as phone:
        phone.send(phone.request("OPTIONS"))
        phone.socket.settimeout(0.3)
        try:
            return b" 200 " in phone.socket.recv(65535)[:20]
        except OSError:
            return False


# -- hosts that are gone from the network of the server ---------------------------------------------------------------

GONE = [f"10.213.77.{number}" for number in range(50, 200)]
"""Addresses in that network which nobody has, so that none answers ARP."""


def test_hosts_that_are_gone_take_no_packet_from_the_others(start_server: StartServer, namespace: str) -> None:
    """What waits for them in the kernel would fill the socket that all share; one who comes back hears music."""
    server = inside(start_server, namespace, "0")
    with ExitStack() as stack:
        held = calls_from_outside(server, 4, stack)
        phone = stack.enter_context(Phone(server.address, OUTSIDE))
        for host in GONE:
            phone.call((host, 20000))
            phone = stack.enter_context(Phone(server.address, OUTSIDE))
        heard = list(zip(*([one.ear.packets(1)[0] for one in held] for _ in range(450))))
        assert ip("addr", "add", f"{GONE[7]}/24", "dev", f"moh{os.getpid()}").returncode == 0
        back = stack.enter_context(Ear(GONE[7], 20000))
        wait_for(lambda: bool(back.waiting()), "music for who is back", SLOW)
        for packets in heard:
            steps = {(later.sequence - earlier.sequence) % 65536 for earlier, later in zip(packets, packets[1:])}
            assert steps == {1}
        server.says("host unreachable at 10.213.77.50:20000 for 30 s (ICMP, ARP or no route)")
        all_hear(held)
        hang_up(held)
    server.terminate()
    assert server.exit_status() == 0
    assert "Traceback" not in server.log


BEYOND = "10.214.0.9"
"""An address that no interface of the server's leads to."""


def unreachable(server: Running, source: int, to: tuple[str, int]) -> bytes:
    """What a router says of a packet from port ``source`` of the server: there is no way to the host (RFC 792)."""
    quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 200, 0, 0, 64, 17, 0, *map(socket.inet_aton, (INSIDE, to[0])))
    words = quoted + struct.pack("!HHHH", source, to[1], 180, 0)
    whole = sum(struct.unpack(f"!{len(words) // 2}H", words)) + 0x0301
    whole = (whole & 0xFFFF) + (whole >> 16)
    return struct.pack("!BBHI", 3, 1, ~(whole + (whole >> 16)) & 0xFFFF, 0) + words


def test_what_anybody_says_of_a_host_silences_nobody_there(start_server: StartServer, namespace: str) -> None:
    """For ICMP no address has to be forged; only who names port and address of a listener is a word about him."""
    server = inside(start_server, namespace, "0")
    with ExitStack() as stack:
        held = calls_from_outside(server, 4, stack)
        anybody = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        heard = []
        for number in range(250):
            if number % 10 == 0:
                for port in (9, held[0].ear.address[1]):
                    anybody.sendto(unreachable(server, held[0].port, (OUTSIDE, port)), (INSIDE, 0))
            heard.append([one.ear.packets(1)[0] for one in held])
        for packets in zip(*heard):
            steps = {(later.sequence - earlier.sequence) % 65536 for earlier, later in zip(packets, packets[1:])}
            assert steps == {1}
        hang_up(held)


@pytest.mark.parametrize("engine", ENGINES)
def test_whose_host_is_gone_for_long_or_out_of_reach_is_let_go(
    start_server: StartServer, namespace: str, engine: str
) -> None:
    server = inside(start_server, namespace, engine)
    with Phone(server.address, OUTSIDE) as gone, Phone(server.address, OUTSIDE) as beyond:
        gone.call((GONE[0], 20000))
        beyond.call((BEYOND, 20000))
        for phone in (gone, beyond):
            phone.await_request("BYE", 2 * SLOW)
    server.says(f"host unreachable at {GONE[0]}:20000 for 30 s (ICMP, ARP or no route)")
