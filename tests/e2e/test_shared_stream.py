"""End to end: calls without an ffmpeg of their own share one stream of a real server."""

from __future__ import annotations

import base64
import re
import signal
import socket
from contextlib import ExitStack

import pytest

from conftest import StartServer
from moh.ffmpeg.launch import encoders
from tests.support.phone import Ear, Phone, has_no_gap, is_music, offer, reports
from tests.support.running import Running, free_ports, is_free, wait_for


@pytest.fixture
def server(start_server: StartServer) -> Running:
    """A server whose calls all share the stream."""
    return start_server(MOH_FFMPEG_CALLS="0").ready()


def shared_port(server: Running) -> int:
    found = re.search(r"RTP ports \d+-(\d+)", server.log)
    assert found
    return int(found[1]) - int(found[1]) % 2


# -- all other ports are in use --------------------------------------------------------------------------------------


def test_a_call_that_finds_no_free_port_shares_the_stream(start_server: StartServer, held: Ear) -> None:
    first = free_ports(5)
    server = start_server(MOH_RTP_PORTS=f"{first}-{first + 4}").ready()
    with Phone(server.address) as ann, Phone(server.address) as bob, Phone(server.address) as eve, Ear() as ear:
        ports = {ann.call(held.address).media[1]}
        held.packets(10)  # a call that came sooner would share the stream, as in a burst
        ports.add(bob.call(held.address).media[1])
        assert ports == {first, first + 2}

        answer = eve.call(ear.address)
        assert answer.media[1] == first + 4
        assert f"a=rtcp:{first + 4}" in answer.body.split("\r\n")
        assert {packet.source[1] for packet in ear.packets(3)} == {first + 4}
        assert eve.options().status == 200
        wait_for(lambda: len(server.ffmpegs) == 2, "two ffmpegs")

        ann.bye()
        wait_for(lambda: is_free(first) or is_free(first + 2), "a free port")
        server.says("ended after")

        def has_an_ffmpeg_again() -> bool:
            with Phone(server.address) as next_one:
                found = next_one.call(held.address).media[1] in ports
                next_one.bye()
            return found

        wait_for(has_an_ffmpeg_again, "a call with its own port")
        eve.bye()
        assert ear.falls_silent()
        bob.bye()
    assert server.has_no_ffmpeg()
    wait_for(lambda: is_free(first) and is_free(first + 2), "both ports free")


@pytest.mark.parametrize(("calls", "spare"), [("50", 4), ("0", 4), ("50", 2)])
def test_a_second_server_on_the_same_rtp_ports_does_not_start(
    start_server: StartServer, calls: str, spare: int
) -> None:
    """The line names the port and the setting, even if the ports of the two servers are not quite the same."""
    first = free_ports(6)
    start_server(MOH_RTP_PORTS=f"{first}-{first + 5}", MOH_FFMPEG_CALLS=calls).ready()
    ports = f"{first + 4 - spare}-{first + 5}"
    second = start_server(MOH_RTP_PORTS=ports, MOH_FFMPEG_CALLS=calls)
    assert second.exit_status() == 1
    why = f"another program uses UDP port {first + 4}; set it to other ports, or stop that program"
    assert second.log == f"Cannot use MOH_RTP_PORTS {ports}: {why}\n"


def test_a_program_that_has_the_shared_port_for_a_moment_does_not_stop_the_start(start_server: StartServer) -> None:
    """As a DNS client has, which takes any port for the length of a query."""
    first = free_ports(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_program:
        other_program.bind(("127.0.0.1", first + 2))
        server = start_server(MOH_RTP_PORTS=f"{first}-{first + 3}")
        wait_for(lambda: not is_free(server.port), "the SIP port is bound")
    server.ready()


def test_a_program_that_has_an_ffmpegs_port_costs_no_call(start_server: StartServer, held: Ear) -> None:
    first = free_ports(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_program:
        other_program.bind(("127.0.0.1", first + 1))
        server = start_server(MOH_RTP_PORTS=f"{first}-{first + 3}").ready()
        with Phone(server.address) as phone:
            assert phone.call(held.address).media[1] == first + 2, "the shared stream"
            held.packets(3)
            phone.bye()


# -- no call has an ffmpeg -------------------------------------------------------------------------------------------


def test_a_whole_call_without_an_ffmpeg(server: Running, held: Ear) -> None:
    with Phone(server.address) as phone, Ear("127.0.0.1", held.address[1]) as caller:
        answer = phone.call(held.address)
        assert answer.media == ("127.0.0.1", shared_port(server))
        heard = held.packets(100)
        assert {(packet.source, packet.size, packet.payload_type, packet.marked) for packet in heard} == {
            (answer.media, 172, 0, False)
        }
        assert has_no_gap(heard) and is_music(heard)
        wait_for(lambda: not server.ffmpegs, "the end of the encoding")
        assert held.packets(1)
        assert phone.bye().status == 200
        assert held.falls_silent() and caller.heard_nothing()


def test_changes_of_one_call_take_no_packet_from_another(server: Running, held: Ear) -> None:
    """The phone ``steady`` makes a call. Its music, at ``held``, loses no packet while another call changes.

    The other call is held (``inactive``) and resumed, moves its music, changes its codec twice, and sends an UPDATE.
    """
    with Phone(server.address) as steady, Phone(server.address) as phone, Ear() as ear, Ear("127.0.0.3") as other:
        steady.call(held.address)
        phone.call(ear.address)
        first = ear.packets(2)[0]
        phone.call_with(offer(ear.address, "a=inactive"))
        assert ear.falls_silent()
        phone.call_with(offer(ear.address))
        assert ear.packets(2)[0].ssrc != first.ssrc, "the first SSRC has sent RTCP BYE"
        phone.call_with(offer(other.address))
        assert other.packets(2)[0].source == first.source
        assert ear.falls_silent()
        phone.call_with(offer(other.address, formats="9 0"))
        wait_for(lambda: other.packets(1)[0].payload_type == 9, "G.722")
        phone.call_with(offer(other.address, "a=recvonly", "a=ptime:40", formats="8"))
        wait_for(lambda: other.packets(1)[0].size == 12 + 320, "PCMA in longer packets")
        assert phone.ask(phone.request("UPDATE", body=offer(ear.address))).status == 200
        assert ear.packets(2)[0].payload_type == 0
        assert phone.bye().status == 200
        assert has_no_gap(held.waiting())
        steady.bye()


WISHES = {20: 20, 30: 20, 40: 40, 60: 60, 120: 60}
"""The packet length in ms that an offer asks for, and the length that the shared stream sends."""


@pytest.mark.parametrize(
    ("formats", "lines", "octets_per_ms"),
    [
        (("0", "8"), (), 8),
        (("9", "102"), ("a=rtpmap:102 G722/8000",), 8),
        (("97", "121"), ("a=rtpmap:97 PCMU/8000", "a=rtpmap:121 PCMU/8000"), 8),
        pytest.param(
            ("96", "111"), ("a=rtpmap:96 opus/48000/2", "a=rtpmap:111 opus/48000/2"), 4,
            marks=pytest.mark.skipif("libopus" not in encoders(), reason="needs an ffmpeg with libopus"),
        ),
    ],
)  # fmt: skip
def test_phones_of_all_payload_types_and_packet_lengths_get_what_their_answers_say(
    server: Running, formats: tuple[str, str], lines: tuple[str, ...], octets_per_ms: int
) -> None:
    """The phones ask for two payload types and five packet lengths. Each gets packets of 20, 40 or 60 ms.

    RFC 3264 §6.1 lets the server choose the length.
    """
    with ExitStack() as stack:
        ears = []
        for number, (name, wish) in enumerate((name, wish) for name in formats for wish in WISHES):
            phone, ear = stack.enter_context(Phone(server.address)), stack.enter_context(Ear(f"127.0.0.{20 + number}"))
            answer = phone.call_with(offer(ear.address, "a=recvonly", *lines, f"a=ptime:{wish}", formats=name))
            assert answer.status == 200 and f"a=ptime:{WISHES[wish]}\r\n" in answer.body
            ears.append((ear, int(name), WISHES[wish], phone))
        ssrcs: dict[int, int] = {}
        for ear, payload_type, ptime, phone in ears:
            packets = ear.packets(10)
            assert {(each.payload_type, each.size) for each in packets} == {(payload_type, 12 + octets_per_ms * ptime)}
            assert has_no_gap(packets) and len({each.ssrc for each in packets}) == 1
            if lines:  # both payload types stand for one codec, so these phones share packets
                assert ssrcs.setdefault(ptime, packets[0].ssrc) == packets[0].ssrc
            assert phone.bye().status == 200


def test_a_call_with_an_ffmpeg_of_its_own_keeps_its_packet_length(start_server: StartServer) -> None:
    own = start_server(MOH_FFMPEG_CALLS="1").ready()
    with Phone(own.address) as first, Phone(own.address) as second, Ear() as ear, Ear("127.0.0.2") as other:
        for phone, listener, ptime in ((first, ear, 30), (second, other, 20)):
            answer = phone.call_with(offer(listener.address, "a=recvonly", "a=ptime:30", formats="0"))
            assert f"a=ptime:{ptime}\r\n" in answer.body
            assert {packet.size for packet in listener.packets(5)} == {12 + 8 * ptime}
        second.bye(), first.bye()


def test_an_offer_of_the_server_has_the_shared_port_and_the_ack_has_the_receiver(server: Running, held: Ear) -> None:
    with Phone(server.address) as phone:
        answer = phone.ask(phone.invite(None))
        port = shared_port(server)
        assert answer.media[1] == port and f"a=rtcp:{port}" in answer.body.split("\r\n")
        assert held.heard_nothing()
        phone.accept(answer, offer(held.address, formats="8"))
        heard = held.packets(3)
        assert {(packet.source, packet.payload_type) for packet in heard} == {(answer.media, 8)}
        phone.bye()


@pytest.mark.skipif("libopus" not in encoders(), reason="needs an ffmpeg with libopus: apt-get install ffmpeg")
def test_opus_is_shared_as_well(server: Running, held: Ear) -> None:
    with Phone(server.address) as phone:
        phone.call_with(offer(held.address, "a=rtpmap:111 opus/48000/2", formats="111"))
        heard = held.packets(20)
        assert {(packet.payload_type, packet.size, packet.marked) for packet in heard} == {(111, 92, False)}
        phone.bye()


def test_a_held_party_with_ipv6_shares_the_stream(start_server: StartServer) -> None:
    server = start_server(MOH_FFMPEG_CALLS="0", MOH_BIND="::").ready()
    for host in ("::1", "127.0.0.2"):
        with Phone(("127.0.0.1", server.port)) as phone, Ear(host) as ear:
            answer = phone.call(ear.address)
            assert ear.packets(3)[0].source == answer.media
            phone.bye()


def test_srtp_is_488_before_and_within_a_shared_call(server: Running, held: Ear) -> None:
    key = base64.b64encode(bytes(30)).decode()
    lines = ("a=recvonly", f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}")
    secure = offer(held.address, *lines).replace("RTP/AVP", "RTP/SAVP")
    with Phone(server.address) as phone:
        assert phone.ask(phone.request("INVITE", body=secure)).status == 488
        phone.ack()
        phone.call(held.address)
        heard = held.packets(1)
        assert phone.ask(phone.request("INVITE", body=secure)).status == 488
        phone.ack()
        heard += [*held.waiting(), *held.packets(20)]
        assert has_no_gap(heard), "the music goes on"
        phone.bye()


def test_a_phone_gets_a_bye_when_its_receiver_has_vanished(server: Running, held: Ear) -> None:
    """The host of the vanished receiver reports "port unreachable". The other receiver loses nothing."""
    with Phone(server.address) as steady, Phone(server.address) as phone:
        steady.call(held.address)
        with Ear() as ear:
            phone.call(ear.address)
            ear.packets(1)
        bye = phone.await_request("BYE")
        assert "port unreachable at" in bye.get("reason")
        assert has_no_gap([*held.waiting(), *held.packets(3)])
        server.says("port unreachable at")
        steady.bye()


def test_sigusr1_logs_the_figures_of_the_shared_stream_in_one_line(server: Running, held: Ear) -> None:
    with Phone(server.address) as phone:
        phone.call(held.address)
        held.packets(3)
        server.process.send_signal(signal.SIGUSR1)
        server.says("1 in the shared stream (1 fan-out, ")
        (line,) = [line for line in server.log.splitlines() if "in the shared stream" in line]
        assert re.search(
            r" INFO +1 call: 0 by ffmpeg, 1 in the shared stream \(1 fan-out, \d+ packets, 0 not sent, \d+ skipped, "
            r"\d+ datagrams received, 0 receivers dropped\)$",
            line,
        )
        phone.bye()


def test_at_the_end_all_shared_calls_get_bye_by_sip_and_by_rtcp(server: Running) -> None:
    with ExitStack() as stack:
        ears = [stack.enter_context(Ear(f"127.0.0.{number}")) for number in range(2, 12)]
        phones = [stack.enter_context(Phone(server.address)) for _ in ears]
        for phone, ear in zip(phones, ears):
            phone.call(ear.address)
        for ear in ears:
            ear.packets(2)
        server.terminate()
        for phone in phones:
            assert phone.await_request("BYE").get("call-id") == phone.call_id
        assert server.exit_status() == 0
        for ear in ears:
            data, source = ear.report()
            while 203 not in reports(data):
                data, source = ear.report()
            assert source[1] == shared_port(server)
            assert ear.falls_silent()
    assert server.log.endswith("stopped\n") and "Traceback" not in server.log


def test_kill_9_ends_an_encoding_too(start_server: StartServer, held: Ear) -> None:
    server = start_server(MOH_FFMPEG_CALLS="0").ready()
    with Phone(server.address) as phone:
        phone.call(held.address)
        held.packets(1)
        server.process.kill()
        server.process.wait()
        assert held.falls_silent()
    assert is_free(shared_port(server))
