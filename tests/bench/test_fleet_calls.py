"""End to end, on real sockets: SIPp's calls of ``bench.fleet``, with and without Kamailio."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.common.compiler import compiled
from bench.fleet.capacity import arguments, through
from bench.fleet.members import PROXY, SIP_PORT, Member, proxy, server_address
from bench.playing.rate import ANSWERS

pytestmark = pytest.mark.skipif(
    not shutil.which("cc") or not shutil.which("sipp"), reason="needs a C compiler and SIPp (sip-tester)"
)
GIVEN = arguments(["--seconds", "1"])


def stub(host: str, folder: Path) -> Member:
    return Member(f"stub-{host}", host, [compiled(ANSWERS, folder), host, str(SIP_PORT)], folder)


def test_calls_without_a_proxy_are_answered_and_ended(tmp_path: Path) -> None:
    alone = stub(PROXY, tmp_path)
    step = through(alone, [alone], 50, GIVEN, tmp_path)
    assert (step.good, step.repeats) == (100.0, 0.0)
    assert step.offered == pytest.approx(50, rel=0.2)


@pytest.mark.skipif(not shutil.which("kamailio"), reason="needs Kamailio")
def test_calls_through_kamailio_are_answered_and_ended(tmp_path: Path) -> None:
    behind = [stub(server_address(number + 1), tmp_path) for number in range(2)]
    step = through(proxy(tmp_path, [one.address for one in behind], hidden=True), behind, 50, GIVEN, tmp_path)
    assert step.good == 100.0
