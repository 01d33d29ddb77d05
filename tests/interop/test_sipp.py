"""End to end with SIPp as the phone (Debian: sip-tester): many calls at once. Scenarios: ``tests/interop/sipp``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.phone import Ear, Phone
from tests.support.running import Address, Running, free_ports

SIPP = shutil.which("sipp")
SCENARIOS = Path(__file__).with_name("sipp")

pytestmark = pytest.mark.skipif(
    SIPP is None, reason="SIPp IS MISSING, so no foreign SIP stack has tried the server: apt-get install sip-tester"
)


class Listener(Protocol):
    """Whoever hears music somewhere."""

    address: Address


@pytest.fixture
def ears() -> Iterator[list[Ear]]:
    """Twenty held parties, each at an address of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(Ear(f"127.0.1.{number}")) for number in range(1, 21)]


def sipp(
    scenario: str, server: Running, ears: Sequence[Listener], folder: Path, calls: int, rate: int = 10
) -> dict[str, int]:
    """Play a scenario, each call with the next of the ears; gives back SIPp's last counts."""
    lines = ["SEQUENTIAL", *(f"{host};{port};" for host, port in (ear.address for ear in ears))]
    (folder / "ears.csv").write_text("\n".join(lines) + "\n")
    command = [
        str(SIPP), f"127.0.0.1:{server.port}", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-inf", "ears.csv",
        "-i", "127.0.0.1", "-p", str(free_ports(1)), "-mp", str(free_ports(4)), "-nostdin",
        "-m", str(calls), "-r", str(rate), "-timeout", "30s", "-timeout_error",
        "-trace_err", "-error_file", "errors.log", "-trace_stat", "-stf", "counts.csv",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    errors = folder / "errors.log"
    assert ran.returncode == 0, ran.stderr + (errors.read_text() if errors.exists() else "")
    names, *_, last = (folder / "counts.csv").read_text().splitlines()
    counts = dict(zip(names.split(";"), last.split(";")))
    return {name: int(counts[f"{name}(C)"]) for name in ("SuccessfulCall", "FailedCall", "Retransmissions")}


def assert_at_rest(server: Running) -> None:
    """Nothing of the calls is left, and the next one is welcome."""
    assert server.has_no_ffmpeg()
    with Phone(server.address) as phone:
        assert phone.options().status == 200


def test_twenty_calls_hear_their_music(own_server: Running, ears: list[Ear], tmp_path: Path) -> None:
    counts = sipp("hold", own_server, ears, tmp_path, calls=20)
    assert (counts["SuccessfulCall"], counts["FailedCall"]) == (20, 0)
    streams = [ear.packets(20) for ear in ears]  # the first of what has come in the meantime
    for stream in streams:
        assert {(packet.size, packet.payload_type, packet.ssrc) for packet in stream} == {(172, 0, stream[0].ssrc)}
        assert [(packet.sequence - stream[0].sequence) % 2**16 for packet in stream] == list(range(20))
    assert len({stream[0].ssrc for stream in streams}) == 20
    assert len({stream[0].source for stream in streams}) == 20
    assert_at_rest(own_server)
    assert all(ear.falls_silent() for ear in ears[:3])


def test_a_cancel_after_the_answer_changes_nothing(own_server: Running, ears: list[Ear], tmp_path: Path) -> None:
    counts = sipp("cancel_too_late", own_server, ears, tmp_path, calls=3)
    assert (counts["SuccessfulCall"], counts["FailedCall"]) == (3, 0)
    assert all(ear.packets(1) for ear in ears[:3])
    assert_at_rest(own_server)


def test_an_offer_of_g729_only_is_refused(own_server: Running, ears: list[Ear], tmp_path: Path) -> None:
    counts = sipp("no_common_codec", own_server, ears, tmp_path, calls=3)
    assert counts == {"SuccessfulCall": 3, "FailedCall": 0, "Retransmissions": 0}
    assert all(ear.heard_nothing() for ear in ears)
    assert_at_rest(own_server)
