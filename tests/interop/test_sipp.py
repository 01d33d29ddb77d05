"""End to end with SIPp as the phone (Debian: sip-tester): many calls at once. Scenarios: ``tests/interop/sipp``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.peers import run_sipp
from tests.support.phone import Ear, Phone, has_no_gap
from tests.support.running import Running


@pytest.fixture
def ears() -> Iterator[list[Ear]]:
    """Twenty held parties, each at its own address."""
    with ExitStack() as stack:
        yield [stack.enter_context(Ear(f"127.0.1.{number}")) for number in range(1, 21)]


def assert_at_rest(server: Running) -> None:
    """Check that no ffmpeg is left, and that the server takes the next call."""
    assert server.has_no_ffmpeg()
    with Phone(server.address) as phone:
        assert phone.options().status == 200


def test_twenty_calls_get_their_music(own_server: Running, ears: list[Ear], tmp_path: Path) -> None:
    """Each has an ffmpeg of its own, but for those that come while another ffmpeg is starting."""
    counts = run_sipp("hold", own_server, [ear.address for ear in ears], tmp_path, calls=20)
    assert (counts["SuccessfulCall"], counts["FailedCall"]) == (20, 0)
    streams = [ear.packets(20) for ear in ears]  # the first packets of each call
    for stream in streams:
        assert {(packet.size, packet.payload_type) for packet in stream} == {(172, 0)}
        assert has_no_gap(stream)
    sources = Counter(stream[0].source for stream in streams)
    shared = [source for source, calls in sources.items() if calls > 1]
    assert len(shared) <= 1, "only the shared port plays to several callers"
    own = [stream[0] for stream in streams if stream[0].source not in shared]
    assert own and len({packet.ssrc for packet in own}) == len(own)
    assert_at_rest(own_server)
    assert all(ear.falls_silent() for ear in ears[:3])


def test_a_cancel_after_the_answer_changes_nothing(own_server: Running, ears: list[Ear], tmp_path: Path) -> None:
    counts = run_sipp("cancel_too_late", own_server, [ear.address for ear in ears], tmp_path, calls=3)
    assert (counts["SuccessfulCall"], counts["FailedCall"]) == (3, 0)
    assert all(ear.packets(1) for ear in ears[:3])
    assert_at_rest(own_server)


def test_an_offer_of_g729_only_is_refused(own_server: Running, ears: list[Ear], tmp_path: Path) -> None:
    counts = run_sipp("no_common_codec", own_server, [ear.address for ear in ears], tmp_path, calls=3)
    assert counts == {"SuccessfulCall": 3, "FailedCall": 0, "Retransmissions": 0}
    assert all(ear.heard_nothing() for ear in ears)
    assert_at_rest(own_server)
