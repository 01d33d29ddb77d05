"""End to end with SIPp (Debian's package sip-tester): each request of RFC 7088 that a music server gets, rows a to j.

The scenarios are ladder diagrams in ``tests/interop/sipp``. SIPp signals; the test itself is the held parties, listens
at their addresses and asserts that the music comes there and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.peers import Sipp, position, write_rising_tune
from tests.support.phone import Ear, Packet
from tests.support.running import Running

TRANSPORTS = pytest.mark.parametrize("transport", ["u1", "t1"], ids=["UDP", "TCP"])


@pytest.fixture
def ann() -> Iterator[Ear]:
    with Ear("127.0.0.2") as ear:
        yield ear


@pytest.fixture
def bob() -> Iterator[Ear]:
    with Ear("127.0.0.3") as ear:
        yield ear


@pytest.fixture
def carol() -> Iterator[Ear]:
    with Ear("127.0.0.4") as ear:
        yield ear


Play = Callable[..., Sipp]


@pytest.fixture
def play(own_server: Running, tmp_path: Path, ann: Ear) -> Iterator[Play]:
    """Plays a scenario; the phone itself, at its own address and Ann's port, hears nothing all the while."""
    with ExitStack() as stack:
        phone_itself = stack.enter_context(Ear("127.0.0.1", ann.address[1]))

        def play(scenario: str, **words: object) -> Sipp:
            return stack.enter_context(Sipp(scenario, own_server.address, tmp_path, **words))  # type: ignore[arg-type]

        yield play
        assert phone_itself.heard_nothing()
        assert own_server.has_no_ffmpeg()


def one_stream(packets: list[Packet], payload_type: int = 0) -> Packet:
    """Check that the packets are one stream without a gap; gives back its first."""
    first = packets[0]
    assert {(packet.ssrc, packet.payload_type, packet.source) for packet in packets} == {
        (first.ssrc, payload_type, first.source)
    }
    assert [(packet.sequence - first.sequence) % 2**16 for packet in packets] == list(range(len(packets)))
    return first


@TRANSPORTS
def test_a_the_music_goes_to_the_third_party_in_the_offer(play: Play, transport: str, ann: Ear) -> None:
    phone = play("row_a", transport=transport, ann=ann)
    one_stream(ann.packets(25))
    phone.go_on()
    phone.finishes()
    assert ann.falls_silent()


@TRANSPORTS
def test_b_without_an_offer_the_music_waits_for_the_answer_in_the_ack(play: Play, transport: str, ann: Ear) -> None:
    phone = play("row_b", transport=transport, ann=ann)
    one_stream(ann.packets(25))
    phone.go_on()
    phone.finishes()
    assert ann.falls_silent()


def test_c_a_re_invite_without_offer_moves_the_music_to_who_answers_in_the_ack(play: Play, ann: Ear, bob: Ear) -> None:
    phone = play("row_c", ann=ann, bob=bob)
    at_ann = one_stream(ann.packets(25))
    assert bob.heard_nothing()
    phone.go_on()
    assert one_stream(bob.packets(25)).source == at_ann.source
    assert ann.falls_silent()
    phone.go_on()
    phone.finishes()
    assert bob.falls_silent()
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
    phone.go_on()
    phone.finishes()
    assert carol.falls_silent()


@pytest.mark.parametrize("line", ["a=sendrecv", "a=ptime:20", "a=active"], ids=["sendrecv", "none", "active"])
def test_e_whatever_is_not_a_hold_gets_music(play: Play, ann: Ear, line: str) -> None:
    phone = play("row_e", ann=ann, direction_line=line)
    one_stream(ann.packets(25))
    phone.go_on()
    phone.finishes()
    assert ann.falls_silent()


@pytest.mark.parametrize(("line", "host"), [("a=inactive", "127.0.0.3"), ("a=sendrecv", "0.0.0.0")])
def test_f_both_on_hold_is_silence_until_a_re_invite_wants_music(
    play: Play, ann: Ear, bob: Ear, line: str, host: str
) -> None:
    phone = play("row_f", quiet=host, quiet_port=bob.address[1], ann=ann, direction_line=line)
    one_stream(ann.packets(25))
    phone.go_on()
    phone.finishes()
    assert ann.falls_silent()
    assert bob.heard_nothing()


def test_g_who_will_not_listen_gets_nothing(play: Play, ann: Ear) -> None:
    play("row_g", ann=ann).finishes()
    assert ann.heard_nothing()


def test_h_refreshes_without_an_offer_change_nothing_that_is_heard(play: Play, ann: Ear) -> None:
    phone = play("row_h", ann=ann)
    heard = ann.packets(25)
    for _ in range(2):
        phone.go_on()
        heard += ann.packets(25)
    one_stream(heard)
    phone.go_on()
    phone.finishes()
    assert ann.falls_silent()


def test_i_options_cancel_and_bye_are_answered_as_everywhere(play: Play, ann: Ear) -> None:
    phone = play("row_i", ann=ann)
    one_stream(ann.packets(25))
    phone.go_on()
    phone.finishes()
    assert ann.falls_silent()


def test_j_of_several_streams_the_first_audio_is_played_to(play: Play, ann: Ear) -> None:
    with Ear("127.0.0.2") as video, Ear("127.0.0.2") as second, Ear("127.0.0.2") as secure:
        others = {"video": video, "second": second, "secure": secure}
        phone = play("row_j", ann=ann, **{f"{name}_port": ear.address[1] for name, ear in others.items()})
        one_stream(ann.packets(25))
        phone.go_on()
        phone.finishes()
        assert ann.falls_silent()
        assert all(ear.heard_nothing() for ear in others.values())


def test_a_held_party_that_moves_twice_hears_one_tune_go_on(
    start_server: StartServer, tmp_path: Path, ann: Ear, bob: Ear, carol: Ear
) -> None:
    tune = tmp_path / "rising.wav"
    write_rising_tune(tune)
    server = start_server(MOH_MUSIC=str(tune)).ready()
    began = time.monotonic()
    reached = 0.0  # the place in the tune, in seconds, up to which somebody has heard it
    with Sipp("moves_twice", server.address, tmp_path, ann=ann, bob=bob, carol=carol) as phone:
        for ear in (ann, bob, carol):
            first = ear.packets(1)
            elapsed = time.monotonic() - began
            heard = first + ear.packets(74)
            one_stream(heard)
            # the tune begins with 60 ms of its end, faded into it: those say nothing of the place
            place = position(heard[10:]) - 0.85
            assert reached - 0.25 < place < elapsed + 0.25, ear.address
            reached = place + 1.5
            phone.go_on()
        phone.finishes()
    assert ann.falls_silent()
    assert bob.falls_silent()
    assert carol.falls_silent()
    assert server.has_no_ffmpeg()
