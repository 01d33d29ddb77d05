"""End to end: a server in a container's network namespace, called by a name that the server has to look up.

The kernel, the resolver and the music are real; only the mark of the container is made up. Needs root, and ``ip``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.namespaces import linked
from tests.support.phone import Ear, Message, Phone
from tests.support.running import Running

INSIDE, OUTSIDE, MACHINE = "10.213.79.2", "10.213.79.1", "10.213.79.9"
"""The addresses of the server, of the phone, and of the machine whose name is dialled."""
HOSTS = f"127.0.0.1 localhost\n{MACHINE} moh.office\n"


@pytest.fixture
def container() -> Iterator[list[str]]:
    """Yield the command that runs a server behind a veth, with ``HOSTS`` as its names."""
    with linked("bridge", INSIDE, OUTSIDE) as (name, _):
        names = Path("/etc/netns") / name
        names.mkdir(parents=True)
        try:
            (names / "hosts").write_text(HOSTS)  # ``ip netns exec`` puts it in the place of /etc/hosts
            yield ["ip", "netns", "exec", name, "env", "KUBERNETES_SERVICE_HOST=10.96.0.1"]
        finally:
            shutil.rmtree(names, ignore_errors=True)


def call(server: Running, uri: str, ear: Ear) -> tuple[Phone, Message]:
    phone = Phone((INSIDE, server.port), OUTSIDE)
    phone.uri = uri
    answer = phone.ask(phone.invite(ear.address))
    assert answer.status == 200, server.log
    phone.to_tag = answer.to_tag
    phone.send(phone.request("ACK"))
    return phone, answer


@pytest.mark.parametrize(
    ("uri", "contact", "media"),
    [
        ("sip:123@moh.office:6060", "sip:moh@moh.office:6060", MACHINE),
        ("sip:123@unknown.invalid:6060", "sip:moh@unknown.invalid:6060", INSIDE),
        (f"sip:123@{MACHINE}:6060", f"sip:moh@{MACHINE}:6060", MACHINE),
    ],
)
def test_the_dialled_name_is_our_contact_and_its_address_is_in_the_sdp(
    start_server: StartServer, container: list[str], uri: str, contact: str, media: str
) -> None:
    server = start_server(before=container, MOH_BIND="0.0.0.0").ready()
    with Ear(OUTSIDE) as ear:
        phone, answer = call(server, uri, ear)
        assert f"<{contact}>" in answer.get("contact")
        assert answer.media[0] == media
        assert len(ear.packets(5)) == 5
        assert phone.ask(phone.request("BYE")).status == 200
    assert f"ready: sip:123@ADDRESS-OF-THIS-MACHINE:{server.port}," in server.log
    assert ("finds no IP address for that name" in server.log) is ("unknown" in uri)
