"""End to end: a phone calls a real server, and a real ffmpeg plays. Each test reads like a ladder diagram.

The phone (``tests.support.phone``) shares no code with the server. Each test waits for events and never asserts how
long something takes.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator

import pytest

from conftest import StartServer
from tests.support.phone import Ear, Message, Phone, is_music, offer, parameter
from tests.support.running import Running


@pytest.fixture
def phone(own_server: Running) -> Iterator[Phone]:
    """A phone at 127.0.0.1. After the test, the fixture checks that the server has no call."""
    with Phone(own_server.address) as open_phone:
        yield open_phone
        assert own_server.has_no_ffmpeg()


# -- a call --------------------------------------------------------------------------------------------------------


def test_the_music_goes_where_the_offer_says_and_not_to_the_caller(phone: Phone, held: Ear) -> None:
    with Ear("127.0.0.1", held.address[1]) as caller:
        answer = phone.call(held.address)
        heard = held.packets(25)
        assert {packet.source for packet in heard} == {answer.media}
        assert {(packet.size, packet.payload_type, packet.marked) for packet in heard} == {(172, 0, False)}
        assert caller.heard_nothing()
        assert phone.bye().status == 200
        assert held.falls_silent()
        assert caller.heard_nothing()


def test_the_180_and_the_200_have_the_same_tag(phone: Phone, held: Ear) -> None:
    phone.send(phone.invite(held.address))
    ringing, answer = phone.receive(), phone.receive()
    assert (ringing.status, answer.status) == (180, 200)
    assert ringing.to_tag == answer.to_tag != ""
    assert ringing.get("contact")
    assert "a=sendonly" in answer.body.split("\r\n")
    assert answer.get("content-type") == "application/sdp"
    phone.accept(answer)
    assert phone.bye().status == 200


def test_the_payload_is_music_and_not_silence(phone: Phone, held: Ear) -> None:
    phone.call(held.address)
    assert is_music(held.packets(100))
    phone.bye()


def test_the_same_invite_five_times_is_one_call(own_server: Running, phone: Phone, held: Ear) -> None:
    invite = phone.invite(held.address)
    for _ in range(5):
        phone.send(invite)
    answers: list[Message] = []
    while len(answers) < 5:
        answers += [message for message in [phone.receive()] if message.status == 200]
    assert all(answer == answers[0] for answer in answers)
    phone.accept(answers[0])
    assert len({packet.ssrc for packet in held.packets(25)}) == 1
    assert len(own_server.ffmpegs) == 1
    phone.bye()


def test_the_200_is_retransmitted_until_the_ack(phone: Phone, held: Ear) -> None:
    phone.send(phone.invite(held.address))
    ringing, first, second, third, fourth = (phone.receive() for _ in range(5))  # 200s at 0, 0.5, 1.5 and 3.5 s
    assert ringing.status == 180
    assert first == second == third == fourth
    phone.accept(first)
    assert phone.bye().status == 200


def test_an_invite_without_offer_gets_one_and_music_after_the_ack_that_answers(phone: Phone, held: Ear) -> None:
    answer = phone.ask(phone.invite(None))
    assert answer.status == 200
    assert "a=sendonly" in answer.body.split("\r\n")
    assert held.heard_nothing()
    phone.accept(answer, offer(held.address, formats="0"))
    assert held.packets(5)[0].source == answer.media
    phone.bye()


def test_hold_stops_the_music_and_a_reinvite_starts_it_at_another_address(phone: Phone, held: Ear) -> None:
    first = phone.call(held.address)
    held.packets(1)
    on_hold = phone.ask(phone.request("INVITE", body=offer(held.address, "a=inactive")))
    phone.ack()
    assert "a=inactive" in on_hold.body.split("\r\n")
    assert held.falls_silent()
    with Ear("127.0.0.3") as other:
        resumed = phone.ask(phone.request("INVITE", body=offer(other.address)))
        phone.ack()
        assert resumed.media == first.media
        assert other.packets(1)[0].source == first.media
        assert held.heard_nothing()
        phone.bye()


def test_an_offer_of_ipv6_media_gets_music(phone: Phone) -> None:
    with Ear("::1") as ear:
        phone.call(ear.address)
        assert ear.packets(5)
        phone.bye()


def test_a_phone_that_requires_100rel_gets_no_180(phone: Phone, held: Ear) -> None:
    phone.send(phone.invite(held.address, "Require: 100rel"))
    answer = phone.receive()
    phone.accept(answer)
    assert phone.bye().status == 200


# -- the end of a call ---------------------------------------------------------------------------------------------


def test_each_retransmission_of_a_bye_is_answered(phone: Phone, held: Ear) -> None:
    phone.call(held.address)
    bye = phone.request("BYE")
    first, second = phone.ask(bye), phone.ask(bye)
    assert first == second
    assert first.status == 200


def test_a_bye_before_the_ack_ends_the_call(phone: Phone, held: Ear) -> None:
    answer = phone.ask(phone.invite(held.address))
    phone.to_tag = answer.to_tag
    assert phone.bye().status == 200
    assert held.falls_silent()


def test_a_bye_to_no_call_is_481(phone: Phone) -> None:
    phone.to_tag = "unknown"
    assert phone.bye().status == 481


def test_a_new_call_after_bye_is_a_new_dialog_and_stream(phone: Phone, held: Ear) -> None:
    first = phone.call(held.address)
    one = held.packets(1)[0].ssrc
    phone.bye()
    assert held.falls_silent()
    phone.to_tag, phone.call_id = "", secrets.token_hex(8)
    second = phone.call(held.address)
    assert second.to_tag != first.to_tag
    assert held.packets(1)[0].ssrc != one
    phone.bye()


# -- addresses -----------------------------------------------------------------------------------------------------


def test_with_rport_the_answer_goes_to_the_source_of_the_request(phone: Phone) -> None:
    answer = phone.ask(phone.request("OPTIONS", via="SIP/2.0/UDP phone.invalid:9;rport"))
    via = answer.get("via")
    assert (parameter(via, "received"), parameter(via, "rport")) == ("127.0.0.1", str(phone.address[1]))


def test_without_rport_the_answer_goes_to_the_port_in_the_via(phone: Phone) -> None:
    with Phone(phone.server) as other:
        request = phone.request("OPTIONS", via=f"SIP/2.0/UDP 127.0.0.1:{other.address[1]}")
        phone.send(request)
        assert other.final(request).status == 200


def test_the_answer_names_the_address_that_the_phone_dialled(phone: Phone, held: Ear) -> None:
    phone.uri = f"sip:123@127.0.0.5:{phone.server[1]}"
    answer = phone.call(held.address)
    assert answer.sdp("c") == "IN IP4 127.0.0.5"
    assert f"@127.0.0.5:{phone.server[1]}>" in answer.get("contact")
    assert held.packets(1)[0].source == answer.media
    phone.bye()


def test_the_advertised_address_has_precedence_over_the_dialled_one(start_server: StartServer, held: Ear) -> None:
    server = start_server(MOH_ADVERTISED_ADDRESS="127.0.0.6").ready()
    with Phone(server.address) as phone:
        answer = phone.call(held.address)
        assert answer.sdp("c") == "IN IP4 127.0.0.6"
        assert f"@127.0.0.6:{server.port}>" in answer.get("contact")
        assert held.packets(1)[0].source == answer.media
        phone.bye()


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="needs IP_PKTINFO, which Linux has")
def test_the_answer_leaves_from_the_address_that_the_request_came_to(start_server: StartServer) -> None:
    server = start_server(MOH_BIND="0.0.0.0").ready()
    for dialled in ("127.0.0.1", "127.0.0.7"):
        with Phone((dialled, server.port)) as phone:
            assert phone.options().source == (dialled, server.port)


# -- garbage, and a caller with a closed port ------------------------------------------------------------------------

GARBAGE = [
    b"", b"\0", b"\0" * 4, b"\r\n", b"\r\n\r\n", b"jaK", b"\x16\x03\x01", b" " * 65_507, b"\xff" * 65_507,
    b"INVITE", b"INVITE sip:123@127.0.0.1 SIP/2.0\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", b"OPTIONS " * 8_000,
    b"INVITE sip:a SIP/2.0\r\n" + b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n" * 1_500,
    b"BYE sip:a SIP/2.0\r\n" + b"\n" * 9_000,
]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: f"{garbage[:12]!r}*{len(garbage)}")
def test_garbage_does_the_server_no_harm(phone: Phone, garbage: bytes) -> None:
    phone.send(garbage)
    assert phone.options().status == 200


def test_random_octets_do_the_server_no_harm(phone: Phone) -> None:
    for size in (1, 17, 300, 1_500, 9_000, 65_507):
        phone.send(secrets.token_bytes(size))
        phone.send(b"INVITE sip:123@127.0.0.1 SIP/2.0\r\nVia: " + secrets.token_bytes(size // 2))
    assert phone.options().status == 200


def test_a_closed_port_of_a_caller_does_not_stop_the_server(own_server: Running, held: Ear) -> None:
    """The kernel reports the closed port to the server's socket, as an error of a later system call."""
    with Phone(own_server.address) as phone:
        phone.send(phone.invite(held.address))
    with Phone(own_server.address) as other:
        assert other.options().status == 200
    phone.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.socket.bind(phone.address)  # the phone has its port again
    with phone:
        while (answer := phone.receive()).status < 200:
            pass
        phone.accept(answer)
        assert phone.bye().status == 200
    assert own_server.has_no_ffmpeg()
