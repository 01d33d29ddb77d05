"""End to end: a network that loses, duplicates, delays and reorders datagrams, or is cut for a while.

In most tests the network is a relay in the test, for SIP or for RTP and RTCP. If the kernel has netem, in some tests it
is netem between two network namespaces.
"""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from conftest import StartServer
from tests.chaos.support import (
    ENGINES,
    SLOW,
    BadWire,
    Held,
    Rest,
    all_hear,
    answers_options,
    calls,
    hang_up,
    insist,
)  # fmt: skip
from tests.support.namespaces import Linked, ip, linked
from tests.support.phone import Ear, Phone, has_no_gap
from tests.support.running import Running, free_ports, wait_for

INSIDE, OUTSIDE = "10.213.77.2", "10.213.77.1"
"""The addresses of the server and of the test. They are private, so that the music starts with the 200."""

GOODBYE = bytes.fromhex("80c9000100000007 81cb000100000007")
"""The last RTCP datagram of a receiver: an empty receiver report, then RTCP BYE (RFC 3550 §6.6)."""


def over_a_bad_wire(server: Running, address: tuple[str, int], count: int, host: str) -> None:
    """Make calls with phones that retransmit. The phones end half of the calls, the server's stop ends the others."""
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
        server.terminate()  # the BYEs of the server arrive, or it gives up waiting for their answers
        for one in held[1::2]:
            assert one.ear.falls_silent()
        assert server.exit_status() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_calls_begin_and_end_through_a_bad_relay(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    with BadWire(server.address, seed=7) as wire:
        over_a_bad_wire(server, wire.address, 10, "127.0.0.1")
        print(f"{wire.dropped} of {wire.seen} datagrams were lost")
    assert "Traceback" not in server.log


def test_a_call_that_is_cut_off_ends_when_its_receiver_is_unreachable(start_server: StartServer) -> None:
    """No BYE arrives from the phone, and the receiver's port is closed."""
    server = start_server(MOH_LOG="info").ready()
    rest = Rest(server)
    with BadWire(server.address, seed=8, lost=0.0) as wire, Phone(wire.address) as phone, Ear() as ear:
        phone.call(ear.address)
        ear.packets(1)
    server.says("port unreachable at 127.0.0.1:")
    wait_for(lambda: not server.ffmpegs, "the end of its ffmpeg")
    rest.returns()


@contextmanager
def far_away(ear: Ear, seed: int) -> Iterator[tuple[BadWire, BadWire]]:
    """Put two relays in front of ``ear``: one for RTP, one for RTCP on the next port.

    The test has to name the address of the first relay in its offer, instead of that of ``ear``.
    """
    host, port = ear.address
    first = free_ports(2)
    with BadWire(ear.address, seed, port=first) as rtp, BadWire((host, port + 1), seed + 1, port=first + 1) as rtcp:
        yield rtp, rtcp


@pytest.mark.parametrize("engine", ENGINES)
def test_music_through_a_bad_network_is_one_stream_with_gaps(start_server: StartServer, engine: str) -> None:
    """The timestamps of the packets that arrive match their sequence numbers.

    The shared stream may leave packets out where this machine stalls: then the timestamp goes on with the time, and the
    sequence number by one. The stream of an ffmpeg leaves nothing out.
    """
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    rest = Rest(server)
    with Phone(server.address) as phone, Ear() as ear, far_away(ear, seed=9) as (wire, _):
        phone.call(wire.address)
        heard = ear.packets(100)
        assert len({packet.ssrc for packet in heard}) == 1
        first = heard[0]
        left_out: dict[int, int] = {}  # samples, by the steps of the sequence number from the first packet
        for packet in heard:  # sequence numbers wrap, so a step of more than half the range is a step back
            number = (packet.sequence - first.sequence + 0x8000) % 0x10000 - 0x8000
            samples = (packet.timestamp - first.timestamp - 160 * number + 2**31) % 2**32 - 2**31
            assert samples % 160 == 0 and left_out.setdefault(number, samples) == samples
        gaps = [samples for _, samples in sorted(left_out.items())]
        assert gaps == sorted(gaps)
        assert server.settings["MOH_FFMPEG_CALLS"] == "0" or set(gaps) == {0}
        numbers = [packet.sequence for packet in heard]
        assert len(set(numbers)) < 100, "the relay duplicated no packet"
        assert numbers != sorted(numbers), "the relay reordered no packet"
        assert phone.bye().status == 200
        print(f"{wire.dropped} of {wire.seen} packets were lost")
    rest.is_well()
    assert "Traceback" not in server.log


@pytest.mark.parametrize("engine", ENGINES)
def test_a_retransmitted_rtcp_bye_ends_the_call_through_a_bad_network(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    rest = Rest(server)
    with Phone(server.address) as phone, Ear() as ear, far_away(ear, seed=10) as (wire, control):
        phone.call(wire.address)
        ear.packets(10)
        back = ear.report()[1]  # the port of the relay from which it sends to the server
        for _ in range(10):
            ear.send_rtcp(GOODBYE, back)
        phone.await_request("BYE", SLOW)
        server.says("the receiver sent RTCP BYE")
        print(f"{control.dropped} of {control.seen} datagrams of RTCP were lost")
    rest.is_well()


# -- in a network namespace ----------------------------------------------------------------------------------------


@pytest.fixture
def namespace() -> Iterator[Linked]:
    """A network namespace for the server, with a link to the test."""
    with linked("chaos", INSIDE, OUTSIDE) as made:
        yield made


def inside(start_server: StartServer, namespace: Linked, engine: str) -> Running:
    server = start_server(
        before=["ip", "netns", "exec", namespace.name], MOH_BIND="0.0.0.0", MOH_FFMPEG_CALLS=engine, MOH_LOG="info"
    ).ready()
    server.address = (INSIDE, server.port)
    return server


@pytest.mark.parametrize("engine", ENGINES)
def test_calls_begin_and_end_through_a_bad_link_of_netem(
    start_server: StartServer, namespace: Linked, engine: str
) -> None:
    bad = ["delay", "500ms", "200ms", "loss", "30%", "duplicate", "10%", "reorder", "25%"]
    words = ["tc", "-n", namespace.name, "qdisc", "add", "dev", "eth0", "root", "netem", *bad]
    made = subprocess.run(words, capture_output=True, text=True) if shutil.which("tc") else None
    if made is None or made.returncode != 0:
        pytest.skip(f"the kernel has no netem: {made.stderr.strip()}" if made else "needs tc: apt-get install iproute2")
    server = inside(start_server, namespace, engine)
    over_a_bad_wire(server, server.address, 6, OUTSIDE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("end", ["outside", "inside"])
def test_calls_survive_a_link_that_is_down_for_3_s(
    start_server: StartServer, namespace: Linked, engine: str, end: str
) -> None:
    server = inside(start_server, namespace, engine)
    link = ["link", "set", namespace.wire] if end == "outside" else ["-n", namespace.name, "link", "set", "eth0"]
    with calls(server, 4, OUTSIDE) as held:
        assert ip(*link, "down").returncode == 0
        time.sleep(3.0)  # the fault lasts 3 s; this is no wait for an event
        assert ip(*link, "up").returncode == 0
        wait_for(lambda: can_reach(server), "the server", SLOW)
        all_hear(held)
        hang_up(held)
    assert "Traceback" not in server.log
    server.terminate()
    assert server.exit_status() == 0


def can_reach(server: Running) -> bool:
    with Phone(server.address, OUTSIDE) as phone:
        return answers_options(phone)


# -- unreachable hosts in the network of the server ------------------------------------------------------------------

GONE = [f"10.213.77.{number}" for number in range(50, 200)]
"""Addresses in the network of the server. No host has them, so no host answers ARP for them."""


def test_unreachable_hosts_take_no_packet_from_other_receivers(start_server: StartServer, namespace: Linked) -> None:
    """Packets for unreachable hosts wait in the kernel and could fill the shared socket.

    A host that is back gets music again.
    """
    server = inside(start_server, namespace, "0")
    with calls(server, 4, OUTSIDE) as held, ExitStack() as stack:
        phone = stack.enter_context(Phone(server.address, OUTSIDE))
        for host in GONE:
            phone.call((host, 20000))
            phone = stack.enter_context(Phone(server.address, OUTSIDE))
        heard = list(zip(*([one.ear.packets(1)[0] for one in held] for _ in range(450))))
        assert ip("addr", "add", f"{GONE[7]}/24", "dev", namespace.wire).returncode == 0
        back = stack.enter_context(Ear(GONE[7], 20000))
        wait_for(lambda: bool(back.waiting()), "music for the host that is back", SLOW)
        assert all(has_no_gap(packets) for packets in heard)
        server.says("host unreachable at 10.213.77.50:20000 for 30 s (ICMP, ARP or no route)")
        all_hear(held)
        hang_up(held)
    server.terminate()
    assert server.exit_status() == 0
    assert "Traceback" not in server.log


BEYOND = "10.214.0.9"
"""An address to which the server has no route."""


def unreachable(server: Running, source: int, to: tuple[str, int]) -> bytes:
    """Return the ICMP "host unreachable" of a router for a packet from port ``source`` of the server (RFC 792)."""
    quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 200, 0, 0, 64, 17, 0, *map(socket.inet_aton, (INSIDE, to[0])))
    quoted += struct.pack("!HHHH", source, to[1], 180, 0)
    total = sum(struct.unpack(f"!{len(quoted) // 2}H", quoted)) + 0x0301
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHI", 3, 1, ~(total + (total >> 16)) & 0xFFFF, 0) + quoted


def test_forged_icmp_errors_take_no_packet_from_a_receiver(start_server: StartServer, namespace: Linked) -> None:
    """Any host can send ICMP errors about another host. Half of these name the port and the address of a receiver."""
    server = inside(start_server, namespace, "0")
    icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with calls(server, 4, OUTSIDE) as held, icmp:
        heard = []
        for number in range(250):
            if number % 10 == 0:
                for port in (9, held[0].ear.address[1]):
                    icmp.sendto(unreachable(server, held[0].port, (OUTSIDE, port)), (INSIDE, 0))
            heard.append([one.ear.packets(1)[0] for one in held])
        assert all(has_no_gap(packets) for packets in zip(*heard))
        hang_up(held)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_ends_when_its_receiver_is_unreachable_for_long_or_has_no_route(
    start_server: StartServer, namespace: Linked, engine: str
) -> None:
    server = inside(start_server, namespace, engine)
    with Phone(server.address, OUTSIDE) as gone, Phone(server.address, OUTSIDE) as beyond:
        gone.call((GONE[0], 20000))
        beyond.call((BEYOND, 20000))
        for phone in (gone, beyond):
            phone.await_request("BYE", 2 * SLOW)
    server.says(f"host unreachable at {GONE[0]}:20000 for 30 s (ICMP, ARP or no route)")
