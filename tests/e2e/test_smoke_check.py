"""What an owner types behind ``test_sip_client.py`` and ``test_udp.py``. End to end: the first checks of a server."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import test_sip_client
import test_udp
from conftest import StartServer
from moh.net.routes import local_address_towards
from tests.support.running import ROOT, TEST_TIMEOUT, free_ports

PROGRAMS = [test_sip_client.host_and_port, test_udp.host_and_port]
both = pytest.mark.parametrize("host_and_port", PROGRAMS, ids=["test_sip_client", "test_udp"])
Parse = Callable[[str], tuple[str, int]]


@both
@pytest.mark.parametrize(
    ("typed", "host", "port"),
    [
        ("192.168.1.100", "192.168.1.100", 5060),
        ("192.168.1.100:5070", "192.168.1.100", 5070),
        ("moh.lan", "moh.lan", 5060),
        ("moh-1:5070", "moh-1", 5070),
        ("moh.lan:", "moh.lan", 5060),
        # as the log prints it, and as it is copied from there
        ("sip:123@192.168.1.100:5060", "192.168.1.100", 5060),
        ("sip:123@192.168.1.100:5060,", "192.168.1.100", 5060),
        ("sip:123@192.168.1.100:5060.", "192.168.1.100", 5060),
        (" sip:123@192.168.1.100:5060 ", "192.168.1.100", 5060),
        ("'sip:123@192.168.1.100:5060'", "192.168.1.100", 5060),
        ("sip:123@[2001:db8::1]:5070", "2001:db8::1", 5070),
        # as phones and other programs have it
        ("SIP:moh.lan", "moh.lan", 5060),
        ("sip:moh.lan:5070", "moh.lan", 5070),
        ("<sip:123@moh.lan>", "moh.lan", 5060),
        ('"Music" <sip:123@moh.lan:5070>;tag=1', "moh.lan", 5070),
        ("sip:123@moh.lan:5070;transport=udp;user=phone?Subject=x", "moh.lan", 5070),
        ("123@moh.lan", "moh.lan", 5060),
        ("sip:jazz;x=1:pw?a@moh.lan", "moh.lan", 5060),
        # IPv6
        ("[::1]", "::1", 5060),
        ("[::1]:5070", "::1", 5070),
        ("::1", "::1", 5060),
        ("2001:db8::1", "2001:db8::1", 5060),
        ("sip:123@2001:db8::1", "2001:db8::1", 5060),
        # an input method for Japanese
        ("１９２．１６８．１．１００：５０７０", "192.168.1.100", 5070),
        ("192。168。1。100", "192.168.1.100", 5060),
    ],
)
def test_an_address_is_understood_however_it_is_typed(host_and_port: Parse, typed: str, host: str, port: int) -> None:
    assert host_and_port(typed) == (host, port)


@both
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "sips:123@moh.lan",
            "'sips:123@moh.lan' asks for TLS; this check calls by UDP, so expected sip: and not sips:",
        ),
        (
            "sip:123@ADDRESS-OF-THIS-MACHINE:5060,",
            "write the address of the machine that runs the container in place of ADDRESS-OF-THIS-MACHINE; "
            "'hostname -I' prints it there",
        ),
        ("moh.lan:99999", "'moh.lan:99999' has the port '99999'; expected a number from 1 to 65535"),
        ("moh.lan:0", "'moh.lan:0' has the port '0'; expected a number from 1 to 65535"),
        ("moh.lan:sip", "'moh.lan:sip' has the port 'sip'; expected a number from 1 to 65535"),
        *(
            (typed, f"{typed!r}; expected HOST, HOST:PORT, [IPv6]:PORT or sip:123@HOST:PORT")
            for typed in (
                "",
                "sip:",
                "sip:123@",
                "http://moh.lan",
                "192.168.1.0/24",
                "a b",
                "[moh.lan]",
                "[::1",
                "1:2:3",
            )
        ),
    ],
)
def test_what_cannot_be_an_address_has_one_line_that_says_what_would_be(
    host_and_port: Parse, typed: str, said: str
) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        host_and_port(typed)
    assert str(caught.value) == said


def test_the_check_by_options_goes_by_udp() -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        test_udp.host_and_port("sip:123@moh.lan;transport=tcp")
    said = "'sip:123@moh.lan;transport=tcp' asks for tcp; this check calls by UDP, so leave transport out"
    assert str(caught.value) == said
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        test_sip_client.host_and_port("sip:123@moh.lan;transport=sctp")
    assert str(caught.value) == "'sip:123@moh.lan;transport=sctp' asks for sctp; this check calls by UDP or TCP"


@pytest.mark.parametrize(
    ("typed", "user", "transport"),
    [
        ("192.168.1.100", "123", "UDP"), ("sip:192.168.1.100:5060", "123", "UDP"), ("jazz@moh.lan", "jazz", "UDP"),
        ("sip:jazz@192.168.1.100:5060", "jazz", "UDP"), ('"Music" <sip:jazz@moh.lan>;tag=1', "jazz", "UDP"),
        ("sip:jazz@[::1]:5060;transport=tcp", "jazz", "TCP"), ("<SIP:Jazz@moh.lan; Transport = TCP>", "Jazz", "TCP"),
        ("sip:jazz;transport=tcp@moh.lan", "jazz;transport=tcp", "UDP"), ("moh.lan;transport=tcp", "123", "TCP"),
        ("sip:%6Aazz@moh.lan", "%6Aazz", "UDP"), ("sip:jazz:pw@moh.lan", "jazz:pw", "UDP"),
        ("sip:受付@moh.lan", "%E5%8F%97%E4%BB%98", "UDP"), ("sip：hold music＠moh.lan", "hold%20music", "UDP"),
        ("sip:a@b@moh.lan", "a%40b", "UDP"), ("'sip:jazz@moh.lan',", "jazz", "UDP"),
    ],
)  # fmt: skip
def test_the_client_dials_the_name_that_is_typed(typed: str, user: str, transport: str) -> None:
    assert test_sip_client.server_and_name(typed)[1] == (user, transport)


# -- end to end --------------------------------------------------------------------------------------------------------


def check(*arguments: str) -> tuple[int, str]:
    """Make a test call of one second. Return the exit status and what was printed."""
    command = [sys.executable, str(ROOT / "test_sip_client.py"), "--seconds", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TEST_TIMEOUT, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_port_behind_a_space_is_pointed_out() -> None:
    status, printed = check("127.0.0.1", "5070")
    assert status == 2
    assert printed.endswith("error: unrecognized arguments: 5070; a port is written behind a colon: 127.0.0.1:5070\n")


def passes(printed: str) -> bool:
    """Return whether the call had music. The pace does not count: a busy test machine can delay packets."""
    failed = [line for line in printed.splitlines() if line.startswith("FAIL") and "pace" not in line]
    return not failed and "packets" in printed.splitlines()[-1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_server_on_this_machine_passes_by_any_of_its_names(start_server: StartServer, host: str) -> None:
    server = start_server(MOH_BIND="::").ready()
    status, printed = check(f"sip:123@{host}:{server.address[1]},")
    assert passes(printed), printed
    assert status in (0, 1) and "info  the server" not in printed


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "[::1]:{}"])
def test_a_call_by_tcp_to_a_name_passes(start_server: StartServer, address: str) -> None:
    server = start_server(MOH_BIND="::").ready()
    where = address.format(server.address[1])
    status, printed = check(f"sip:jazz@{where};transport=tcp")
    assert printed.startswith(f"calling sip:jazz@{where} by TCP, to listen for 1 s\n")
    assert passes(printed), printed
    assert status in (0, 1)


def test_a_port_without_tcp_is_named() -> None:
    port = free_ports(1)
    status, printed = check(f"sip:123@127.0.0.1:{port};transport=tcp")
    assert status == 1 and printed.splitlines()[-1].startswith(f"FAIL  no TCP connection to 127.0.0.1:{port} (")


@contextmanager
def proxy_of_an_engine(server: tuple[str, int], port: int) -> Iterator[None]:
    """Forward from 127.0.0.1:port to ``server``, as Docker does by a program: it sees another source address."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        near.bind(("127.0.0.1", port))
        far.bind((server[0], 0))
        near.settimeout(0.1)
        far.settimeout(0.1)
        client: list[tuple[str, int]] = []
        ended = threading.Event()

        def forward(source: socket.socket) -> None:
            while not ended.is_set():
                try:
                    data, address = source.recvfrom(65535)
                except OSError:
                    continue
                if source is near:
                    client[:] = [address]
                    far.sendto(data, server)
                else:
                    near.sendto(data, client[0])

        threads = [threading.Thread(target=forward, args=(sock,)) for sock in (near, far)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def test_a_server_in_a_container_on_this_machine_passes_by_127_0_0_1(start_server: StartServer) -> None:
    """To the server 127.0.0.1 is another machine's loopback, so that it refuses to send music there."""
    own = local_address_towards("192.0.2.1")
    if not own or own.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    server = start_server(MOH_BIND=own).ready()
    port = free_ports(1)
    with proxy_of_an_engine((own, server.port), port):
        status, printed = check(f"127.0.0.1:{port}")
    assert f"info  the server does not see this machine as 127.0.0.1, so this listens at {own}\n" in printed
    assert passes(printed) and status in (0, 1), printed
    assert "SIP/2.0 488" not in server.log
