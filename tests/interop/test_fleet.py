"""End to end: the configuration in deploy/kamailio in front of two servers, with phones by UDP and TCP, and SIPp."""

from __future__ import annotations

import re
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

from tests.support.kamailio import Kamailio
from tests.support.peers import SCENARIOS, Sipp
from tests.support.phone import Ear, Message, Phone, has_no_gap
from tests.support.running import ROOT, TEST_TIMEOUT, Address, Running, free_ports, wait_for

FILES = ROOT / "deploy" / "kamailio"
PROXY, PHONE, PBX, STRANGER = "127.0.0.9", "127.0.0.1", "127.0.0.6", "127.0.0.7"
SERVERS = ("127.0.0.11", "127.0.0.12")
"""A server that is only what dispatcher.list names: no phone has its address."""


class Caller(Phone):
    """A phone that follows Record-Route and Contact (RFC 3261 §12), by UDP or by one TCP connection.

    By TCP its Contact names a port on which it does not listen, as that of many phones does.
    """

    def __init__(self, proxy: Address, *, tcp: bool = False, host: str = PHONE) -> None:
        super().__init__(proxy, host)
        self.dialled = self.uri
        self.proxy, self.tcp = proxy, tcp
        self.routes: list[str] = []
        self._received = b""
        if tcp:
            self.socket.close()
            self.socket = socket.create_connection(proxy, TEST_TIMEOUT, (host, 0))
            self.address = self.socket.getsockname()

    def __enter__(self) -> Caller:
        return self

    def request(
        self, method: str, *lines: str, body: str = "", cseq: Optional[int] = None, branch: str = "", via: str = ""
    ) -> bytes:
        written = super().request(
            method, *(f"Route: {route}" for route in self.routes), *lines, body=body, cseq=cseq, branch=branch, via=via
        )
        if self.tcp:
            contact = b"Contact: <sip:201@%s:9;transport=tcp>" % self.address[0].encode()
            written = re.sub(rb"Contact: .*>", contact, written.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        return written

    def send(self, data: bytes) -> None:
        if self.tcp:
            self.socket.sendall(data)
        else:
            super().send(data)

    def receive(self, seconds: float = TEST_TIMEOUT) -> Message:
        if not self.tcp:
            return super().receive(seconds)
        self.socket.settimeout(seconds)
        while not (found := re.match(rb"(?s)(.*?\r\n)\r\n", self._received)):
            self._read()
        size = found.end() + int(re.search(rb"Content-Length: *(\d+)", found[1])[1])  # type: ignore[index]
        while len(self._received) < size:
            self._read()
        message, self._received = self._received[:size], self._received[size:]
        return Message.read(message, self.server)

    def drop_waiting(self) -> None:
        """Read all messages, until none arrives for 20 ms."""
        with suppress(AssertionError):
            while True:
                self.receive(0.02)

    def _read(self) -> None:
        data = self.socket.recv(65535)
        assert data, "the proxy has closed the connection"
        self._received += data

    def accept(self, answer: Message, body: str = "") -> Message:
        """Acknowledge ``answer``. That of the first INVITE has the route of all later requests, and the Contact."""
        if not self.to_tag:
            self.routes = [value for name, value in answer.fields if name == "record-route"][::-1]
            self.uri = "sip:moh@{}:{}".format(*server_of(answer))
            if not self.routes:
                self.server = server_of(answer)
        return super().accept(answer, body)

    def bye(self) -> Message:
        """End the call. The next one begins at the proxy again."""
        answer = super().bye()
        self.to_tag, self.routes, self.call_id = "", [], secrets.token_hex(8)
        self.server, self.uri = self.proxy, self.dialled
        return answer


def server_of(answer: Message) -> Address:
    """Return the address in the Contact of ``answer``."""
    found = re.match(r"<sip:moh@([^:>]+):(\d+)>", answer.get("contact"))
    assert found, answer
    return found[1], int(found[2])


class Fleet(NamedTuple):
    """Servers by their addresses, and the proxy in front of them."""

    proxy: Kamailio
    servers: dict[Address, Running]

    def takes_calls(self, *addresses: Address) -> None:
        """Wait until the proxy gives new calls to ``addresses`` alone."""
        wait_for(lambda: self.active() == set(addresses), f"{addresses} take calls, and no other server", 30)

    def active(self) -> set[Address]:
        listed = self.proxy.command("dispatcher.list")
        found = re.findall(r"URI: sip:(\S+):(\d+)\s+FLAGS: [AT]", listed)
        return {(host, int(port)) for host, port in found}


Servers = dict[Address, Running]
PutInFront = Callable[..., Fleet]


@contextmanager
def running_servers(folder: Path, cache: Path, hosts: Sequence[str], **settings: str) -> Iterator[Servers]:
    with ExitStack() as stack:
        found = {}
        for host in hosts:
            port = free_ports(1)
            found[host, port] = stack.enter_context(
                Running(folder, cache, MOH_BIND=host, MOH_SIP_PORT=str(port), MOH_ALLOW="127.0.0.0/8", **settings)
            )
        for server in found.values():
            server.ready()
        yield found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Servers]:
    """Two servers that several tests call."""
    with running_servers(tmp_path_factory.mktemp("pair"), music_cache, SERVERS) as servers:
        yield servers


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Servers]:
    """A server that ends each call after 2 s."""
    with running_servers(tmp_path_factory.mktemp("short"), music_cache, SERVERS[:1], MOH_MAX_CALL="2s") as servers:
        yield servers


@pytest.fixture
def own(tmp_path: Path, music_cache: Path) -> Iterator[Servers]:
    """Two servers for one test, which may stop them."""
    with running_servers(tmp_path, music_cache, SERVERS) as servers:
        yield servers


@pytest.fixture
def put_in_front(tmp_path: Path) -> Iterator[PutInFront]:
    """Yield a function that starts a proxy in front of servers, with the configuration in deploy/kamailio."""
    with ExitStack() as stack:

        def start(servers: Servers, *defined: str, dead: Sequence[Address] = ()) -> Fleet:
            listed = [f"1 sip:{host}:{port} 9 0 rweight=50" for host, port in servers]
            listed += [f"1 sip:{host}:{port} 8 0 rweight=50" for host, port in dead]
            (tmp_path / "dispatcher.list").write_text("\n".join(listed) + "\n")
            (tmp_path / "address.list").write_text(f"1 {PHONE} 30\n2 {PBX} 32\n")
            configuration = tmp_path / "kamailio.cfg"
            written = (FILES / "kamailio.cfg").read_text(encoding="utf-8")
            configuration.write_text(written.replace("/etc/kamailio/", f"{tmp_path}/"))
            address = (PROXY, free_ports(1))
            names = (f"PROXY_ADDRESS={PROXY}", f"PROXY_PORT={address[1]}", *defined)
            fleet = Fleet(stack.enter_context(Kamailio(tmp_path, configuration, address, *names)), servers)
            if not dead:
                fleet.takes_calls(*servers)
            return fleet

        yield start


ANNOUNCED = 5
"""Seconds for which a server that drains refuses OPTIONS and still takes calls."""
WAYS = pytest.mark.parametrize(
    ("tcp", "defined"), [(False, ()), (False, ("SERVERS_HIDDEN",)), (True, ())], ids=["UDP", "UDP, hidden", "TCP"]
)


@WAYS
def test_hold_move_resume_and_bye(
    put_in_front: PutInFront, pair: Servers, ann: Ear, bob: Ear, tcp: bool, defined: tuple[str, ...]
) -> None:
    fleet = put_in_front(pair, *defined)
    with Caller(fleet.proxy.address, tcp=tcp) as phone:
        answer = phone.call(ann.address)
        assert bool(phone.routes) == (tcp or bool(defined)), "Record-Route only where it is needed"
        assert server_of(answer) in fleet.servers
        assert answer.media[0] == server_of(answer)[0], "the session description is the server's own"
        assert has_no_gap(ann.packets(25))
        phone.dial(phone.invite(bob.address))
        assert bob.packets(25)
        assert ann.falls_silent()
        inactive = phone.invite(bob.address).replace(b"a=recvonly", b"a=inactive")
        phone.dial(inactive)
        assert bob.falls_silent()
        phone.dial(phone.invite(bob.address))
        assert bob.packets(25)
        assert phone.bye().status == 200
    assert bob.falls_silent()
    for server in fleet.servers.values():
        assert server.has_no_ffmpeg()


@WAYS
def test_the_bye_of_the_server_reaches_the_phone(
    put_in_front: PutInFront, short: Servers, ann: Ear, tcp: bool, defined: tuple[str, ...]
) -> None:
    fleet = put_in_front(short, *defined)
    with Caller(fleet.proxy.address, tcp=tcp) as phone:
        phone.call(ann.address)
        assert ann.packets(25)
        phone.await_request("BYE")
    assert ann.falls_silent()
    (server,) = fleet.servers.values()
    assert server.has_no_ffmpeg()


@pytest.mark.parametrize(
    ("scenario", "transport", "defined"),
    [("proxy_hold", "u1", ("SERVERS_HIDDEN",)), ("proxy_longest_call", "t1", ())],
    ids=["UDP", "TCP"],
)
def test_sipp_through_the_proxy(
    put_in_front: PutInFront, short: Servers, ann: Ear, tmp_path: Path,
    scenario: str, transport: str, defined: tuple[str, ...],
) -> None:  # fmt: skip
    """The proxy drops 180, which two of its processes might pass on after the 200 otherwise."""
    written = (SCENARIOS / f"{scenario}.xml").read_text()
    (tmp_path / "scenario.xml").write_text(written.replace('response="180"', 'response="180" optional="true"'))
    fleet = put_in_front(short, *defined)
    with Sipp(str(tmp_path / "scenario"), fleet.proxy.address, tmp_path, transport, ann=ann) as phone:
        assert ann.packets(25)
        phone.finishes()
    assert ann.falls_silent()


def test_a_server_that_is_killed_costs_no_new_call(put_in_front: PutInFront, own: Servers, ann: Ear, bob: Ear) -> None:
    fleet = put_in_front(own)
    held, killed = fleet.servers
    with Caller(fleet.proxy.address) as keeper:
        while server_of(keeper.call(ann.address)) != held:
            keeper.bye()
        ann.packets(1)
        fleet.servers[killed].process.kill()
        for _ in range(8):
            with Caller(fleet.proxy.address) as phone:
                assert server_of(phone.call(bob.address)) == held
                phone.bye()
        fleet.takes_calls(held)
        with Caller(fleet.proxy.address) as phone:
            phone.call(bob.address)
            phone.bye()
        assert has_no_gap(ann.waiting()), "the calls of other servers hear nothing of it"
        assert keeper.bye().status == 200


def test_a_server_that_drains_loses_no_call(put_in_front: PutInFront, pair: Servers, ann: Ear, bob: Ear) -> None:
    fleet = put_in_front(pair)
    drained, other = fleet.servers
    with Caller(fleet.proxy.address) as keeper:
        while server_of(keeper.call(ann.address)) != drained:
            keeper.bye()
        fleet.servers[drained].process.send_signal(signal.SIGUSR2)
        delays, answered = [], []
        give_up = time.monotonic() + ANNOUNCED + 1
        while (began := time.monotonic()) < give_up:
            with Caller(fleet.proxy.address) as phone:
                answered.append(server_of(phone.call(bob.address)))
                delays.append(time.monotonic() - began)
                phone.bye()
            time.sleep(0.1)
        assert max(delays) < 0.9, "no call had to go to a second server"
        assert drained not in answered[len(answered) // 2 :]
        keeper.dial(keeper.invite(bob.address))
        assert bob.packets(25), "a call of a server that drains can still be moved"
        assert keeper.bye().status == 200
        fleet.servers[drained].process.send_signal(signal.SIGUSR2)
        fleet.takes_calls(drained, other)


def test_no_server_takes_calls(put_in_front: PutInFront, ann: Ear) -> None:
    fleet = put_in_front({}, dead=[(host, free_ports(1)) for host in SERVERS])
    with Caller(fleet.proxy.address) as phone:
        assert phone.options().status == 200, "the proxy does not know it yet"
        assert phone.ask(phone.invite(ann.address)).status == 503
        phone.ack()
        fleet.takes_calls()
        assert phone.options().status == 503
        assert phone.ask(phone.invite(ann.address)).get("retry-after") == "5"


def test_the_proxy_relays_to_servers_only(put_in_front: PutInFront, pair: Servers, ann: Ear) -> None:
    fleet = put_in_front(pair)
    host, port = fleet.proxy.address
    route = f"<sip:{host}:{port};lr>"
    with Caller(fleet.proxy.address) as phone, Phone(fleet.proxy.address) as victim:
        assert phone.ask(phone.request("REGISTER")).status == 405
        phone.to_tag = "1"
        assert phone.ask(phone.request("BYE")).status == 404
        phone.uri, phone.routes = "sip:1@{}:{}".format(*victim.address), [route]
        assert phone.ask(phone.request("BYE")).status == 403
        server = next(iter(pair))
        phone.uri, phone.routes = "sip:moh@{}:{}".format(*server), [route, "<sip:{}:{};lr>".format(*victim.address)]
        assert phone.ask(phone.request("BYE")).status == 403
        phone.routes = [route]
        assert phone.ask(phone.request("BYE")).status == 481
    with Caller(fleet.proxy.address, host=STRANGER) as stranger:
        stranger.send(stranger.request("OPTIONS"))
        with pytest.raises(AssertionError, match="no SIP message"):
            stranger.receive(0.5)


def test_a_flood_costs_its_sender_alone(put_in_front: PutInFront, pair: Servers) -> None:
    fleet = put_in_front(pair)
    with Caller(fleet.proxy.address) as phone, Caller(fleet.proxy.address, host=PBX) as pbx:
        for sender in (phone, pbx):
            for _ in range(10):
                for _ in range(100):
                    sender.send(sender.request("OPTIONS"))
                sender.drop_waiting()
        assert pbx.options().status == 200
        phone.send(phone.request("REGISTER"))
        with pytest.raises(AssertionError, match="no SIP message"):
            while phone.receive(0.5).method != "REGISTER":
                pass
        wait_for(lambda: _answers(phone), "the end of the flood ends its consequences")


def _answers(phone: Phone) -> bool:
    phone.send(phone.request("OPTIONS"))
    with suppress(AssertionError):
        return phone.receive(0.5).status == 200
    return False


def test_cancel(put_in_front: PutInFront, ann: Ear) -> None:
    """The servers answer nothing, so the call can be cancelled before its 200."""
    fleet = put_in_front({}, dead=[(host, free_ports(1)) for host in SERVERS])
    with Caller(fleet.proxy.address) as phone:
        invite = phone.invite(ann.address)
        branch = Message.read(invite, phone.address).branch
        phone.send(invite)
        assert phone.receive().status == 100
        phone.send(phone.request("CANCEL", branch=branch))
        answers = {phone.receive().status, phone.receive().status}
        assert answers == {200, 487}, "of CANCEL and INVITE, by two processes of the proxy, so in any order"
        phone.send(phone.request("ACK", branch=branch))
