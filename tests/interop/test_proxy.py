"""End to end with Kamailio (Debian's package kamailio) in front of the server, and SIPp (sip-tester) as the phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.kamailio import Kamailio
from tests.support.peers import HOST, Sipp
from tests.support.phone import Ear
from tests.support.running import Running, free_ports

CONFIGURATION = """#!KAMAILIO
# A proxy that stays in the path: it adds a Record-Route to what begins a call; what is in a call must have its Route.
debug=2
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
dns=no
rev_dns=no
listen=udp:{host}:{port}
listen=tcp:{host}:{port}

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"

request_route {{
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) t_relay();
        else if (!is_method("ACK")) sl_send_reply("403", "Not by my route");
        exit;
    }}
    record_route();
    {aim} = "sip:123@{server};transport={transport}";
    t_relay();
}}
"""

TRANSPORTS = pytest.mark.parametrize(
    ("sipp_transport", "transport"), [("u1", "udp"), ("t1", "tcp"), ("u1", "tcp")], ids=["UDP", "TCP", "UDP to TCP"]
)


Front = Callable[..., Kamailio]


@pytest.fixture
def put_in_front(tmp_path: Path) -> Iterator[Front]:
    """Yield a function that starts a proxy in front of a server. The proxy forwards by ``transport``.

    ``aim`` is the variable of Kamailio that gets the server's address. ``$ru`` replaces the Request-URI. ``$du`` keeps
    the Request-URI as it was dialled, as a load balancer does.
    """
    with ExitStack() as stack:

        def start(server: Running, transport: str, aim: str = "$ru") -> Kamailio:
            host, port = address = ("127.0.0.9", free_ports(1))
            target = "{}:{}".format(*server.address)
            configuration = tmp_path / "kamailio.cfg"
            configuration.write_text(
                CONFIGURATION.format(host=host, port=port, server=target, transport=transport, aim=aim)
            )
            return stack.enter_context(Kamailio(tmp_path, configuration, address))

        yield start


@TRANSPORTS
def test_a_call_through_a_proxy_gets_music_until_its_bye(
    own_server: Running, put_in_front: Front, tmp_path: Path, ann: Ear, sipp_transport: str, transport: str
) -> None:
    proxy = put_in_front(own_server, transport)
    with Sipp("proxy_hold", proxy.address, tmp_path, sipp_transport, ann=ann) as phone:
        assert len({(packet.ssrc, packet.source) for packet in ann.packets(25)}) == 1
        phone.finishes()
    assert ann.falls_silent()
    assert own_server.has_no_ffmpeg()


def test_a_proxy_may_keep_the_dialled_request_uri(
    start_server: StartServer, put_in_front: Front, tmp_path: Path, ann: Ear
) -> None:
    server = start_server().ready()
    proxy = put_in_front(server, "udp", "$du")
    with Sipp("proxy_hold", proxy.address, tmp_path, ann=ann) as phone:
        ann.packets(25)
        messages = phone.finishes()
    assert f"Contact: <sip:moh@{HOST}:{server.port}>" in messages
    assert f"c=IN IP4 {HOST}" in messages


@TRANSPORTS
def test_a_bye_of_the_server_follows_the_route_of_the_call(
    start_server: StartServer, put_in_front: Front, tmp_path: Path, ann: Ear, sipp_transport: str, transport: str
) -> None:
    server = start_server(MOH_MAX_CALL="2s").ready()
    proxy = put_in_front(server, transport)
    with Sipp("proxy_longest_call", proxy.address, tmp_path, sipp_transport, ann=ann) as phone:
        ann.packets(25)
        phone.finishes()
    assert ann.falls_silent()
    server.says("longest call, 2 s")
    sent = server.log.partition(" BYE sip:201@")[2].partition(" DEBUG ")[0]
    assert "Route: <sip:{}:{}".format(*proxy.address) in sent, server.log
    assert server.has_no_ffmpeg()
