"""End to end with SIPp (Debian's package sip-tester): the requests of RFC 7088 that a music server gets.

One SIPp scenario, ``row_a`` to ``row_k`` in ``tests/interop/sipp``, plays each kind of request. SIPp is the phone. The
test listens at the addresses of the held parties, and checks that music arrives there and at no other address.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.peers import Sipp, position, write_rising_tune
from tests.support.phone import Ear, Packet, has_no_gap
from tests.support.running import SHORT_SESSIONS, Running

TRANSPORTS = pytest.mark.parametrize("transport", ["u1", "t1"], ids=["UDP", "TCP"])


Play = Callable[..., Sipp]


@pytest.fixture
def play(own_server: Running, tmp_path: Path, ann: Ear) -> Iterator[Play]:
    """Yield a function that starts a scenario.

    After the test, the fixture checks that no music has arrived at the phone's own address, at the port number that Ann
    has at her address.
    """
    with ExitStack() as stack:
        phones_address = stack.enter_context(Ear("127.0.0.1", ann.address[1]))

        def play(scenario: str, **keys: object) -> Sipp:
            return stack.enter_context(Sipp(scenario, own_server.address, tmp_path, **keys))  # type: ignore[arg-type]

        yield play
        assert phones_address.heard_nothing()
        assert own_server.has_no_ffmpeg()


def one_stream(packets: list[Packet], payload_type: int = 0) -> Packet:
    """Check that the packets are one stream without a gap; return its first packet."""
    first = packets[0]
    assert has_no_gap(packets)
    assert {(packet.payload_type, packet.source) for packet in packets} == {(payload_type, first.source)}
    return first


def hang_up(phone: Sipp, party: Ear) -> None:
    """Let the scenario go on to its BYE, and check that the music ends."""
    phone.go_on()
    phone.finishes()
    assert party.falls_silent()


@TRANSPORTS
def test_a_the_music_goes_to_the_third_party_in_the_offer(play: Play, transport: str, ann: Ear) -> None:
    phone = play("row_a", transport=transport, ann=ann)
    one_stream(ann.packets(25))
    hang_up(phone, ann)


@TRANSPORTS
def test_b_without_an_offer_the_music_waits_for_the_answer_in_the_ack(play: Play, transport: str, ann: Ear) -> None:
    phone = play("row_b", transport=transport, ann=ann)
    one_stream(ann.packets(25))
    hang_up(phone, ann)


def test_c_a_reinvite_without_offer_moves_the_music_to_the_answer_in_the_ack(play: Play, ann: Ear, bob: Ear) -> None:
    phone = play("row_c", ann=ann, bob=bob)
    at_ann = one_stream(ann.packets(25))
    assert bob.heard_nothing()
    phone.go_on()
    assert one_stream(bob.packets(25)).source == at_ann.source
    assert ann.falls_silent()
    hang_up(phone, bob)
    assert ann.heard_nothing()


def test_d_offers_within_the_call_move_recode_stop_and_start_the_music(
    play: Play, ann: Ear, bob: Ear, carol: Ear
) -> None:
    phone = play("row_d", ann=ann, bob=bob, carol=carol)
    at_ann = one_stream(ann.packets(25))
    phone.go_on()
    one_stream(bob.packets(25))
    assert ann.falls_silent()
    phone.go_on()
    while (packet := bob.packets(1)[0]).payload_type == 0:
        pass
    one_stream([packet, *bob.packets(24)], payload_type=8)
    phone.go_on()
    assert bob.falls_silent()
    assert carol.heard_nothing()
    phone.go_on()
    assert one_stream(carol.packets(25), payload_type=8).source == at_ann.source
    assert ann.heard_nothing()
    assert bob.heard_nothing()
    hang_up(phone, carol)


@pytest.mark.parametrize("line", ["a=sendrecv", "a=ptime:20", "a=active"], ids=["sendrecv", "none", "active"])
def test_e_every_direction_that_is_no_hold_gets_music(play: Play, ann: Ear, line: str) -> None:
    phone = play("row_e", ann=ann, direction_line=line)
    one_stream(ann.packets(25))
    hang_up(phone, ann)


@pytest.mark.parametrize(("line", "host"), [("a=inactive", "127.0.0.3"), ("a=sendrecv", "0.0.0.0")])
def test_f_a_call_held_by_both_sides_is_silent_until_a_reinvite_asks_for_music(
    play: Play, ann: Ear, bob: Ear, line: str, host: str
) -> None:
    phone = play("row_f", quiet=host, quiet_port=bob.address[1], ann=ann, direction_line=line)
    one_stream(ann.packets(25))
    hang_up(phone, ann)
    assert bob.heard_nothing()


def test_g_a_sendonly_offer_gets_no_music(play: Play, ann: Ear) -> None:
    play("row_g", ann=ann).finishes()
    assert ann.heard_nothing()


def test_h_refreshes_without_an_offer_do_not_disturb_the_music(play: Play, ann: Ear) -> None:
    phone = play("row_h", ann=ann)
    heard = ann.packets(25)
    for _ in range(2):
        phone.go_on()
        heard += ann.packets(25)
    one_stream(heard)
    hang_up(phone, ann)


def test_i_options_cancel_and_bye_are_answered(play: Play, ann: Ear) -> None:
    phone = play("row_i", ann=ann)
    one_stream(ann.packets(25))
    hang_up(phone, ann)


def test_j_of_several_streams_the_first_audio_stream_gets_the_music(play: Play, ann: Ear) -> None:
    with Ear("127.0.0.2") as video, Ear("127.0.0.2") as second, Ear("127.0.0.2") as secure:
        others = {"video": video, "second": second, "secure": secure}
        phone = play("row_j", ann=ann, **{f"{name}_port": ear.address[1] for name, ear in others.items()})
        one_stream(ann.packets(25))
        hang_up(phone, ann)
        assert all(ear.heard_nothing() for ear in others.values())


@TRANSPORTS
def test_k_the_server_refreshes_by_reinvite_where_the_phone_takes_no_update(
    start_server: StartServer, tmp_path: Path, transport: str, ann: Ear
) -> None:
    server = start_server(before=SHORT_SESSIONS).ready()
    with Sipp("row_k", server.address, tmp_path, transport=transport, ann=ann) as phone:
        phone.finishes()
    heard = ann.waiting()
    assert len(heard) > 150, "4 s of music and more, through both refreshes"
    one_stream(heard)
    assert server.has_no_ffmpeg()


def test_a_held_party_that_moves_twice_hears_one_tune_go_on(
    start_server: StartServer, tmp_path: Path, ann: Ear, bob: Ear, carol: Ear
) -> None:
    tune = tmp_path / "rising.wav"
    write_rising_tune(tune)
    server = start_server(MOH_MUSIC=str(tune)).ready()
    began = time.monotonic()
    reached = 0.0  # the position in the tune, in seconds, that the music has reached
    with Sipp("moves_twice", server.address, tmp_path, ann=ann, bob=bob, carol=carol) as phone:
        for ear in (ann, bob, carol):
            first = ear.packets(1)
            elapsed = time.monotonic() - began
            heard = first + ear.packets(74)
            one_stream(heard)
            # the first packets are left out: in the first 60 ms the end of the tune fades into its beginning
            place = position(heard[10:]) - 0.85
            assert reached - 0.25 < place < elapsed + 0.25, ear.address
            reached = place + 1.5
            phone.go_on()
        phone.finishes()
    assert ann.falls_silent()
    assert bob.falls_silent()
    assert carol.falls_silent()
    assert server.has_no_ffmpeg()
