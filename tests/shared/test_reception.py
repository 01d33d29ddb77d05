"""What the receivers of the shared stream report by RTCP. End to end on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.common.codecs import G722
from moh.shared.feedback import MOST_KEPT_PACKETS, Feedback
from tests.support.crowd import start
from tests.support.media_socket import media_socket
from tests.support.phone import Ear
from tests.support.rtcp import block, receiver_report
from tests.support.running import wait_for
from tests.support.shared import playing, to


@pytest.mark.parametrize("threads", [1, 2])
def test_the_reports_of_receivers_are_those_of_their_calls(music: dict[int, Path], threads: int) -> None:
    with playing(music, threads=threads) as stream, Ear() as ann, Ear() as bob, Ear() as eve:
        server = ("127.0.0.1", stream.port)
        stream.order(start("ann", to(ann, stream)))
        stream.order(start("bob", to(bob, stream, G722, 9)))
        heard = {"ann": ann.packets(20)[-1], "bob": bob.packets(20)[-1]}
        for number in range(50):
            for name, ear in (("ann", ann), ("bob", bob), ("ann", eve)):
                about = block(heard[name].ssrc, 0, 1, heard[name].sequence, 8 * number)
                ear.send_rtcp(receiver_report(about), server)
        found = {report.call: report for report in wait_for(stream.reports, "reports")}
        while len(found) < 2 or any(report.jitter < 0.049 for report in found.values()):
            found.update({report.call: report for report in wait_for(stream.reports, "reports")})
        for name, report in found.items():
            assert report.ssrc == heard[name].ssrc and (report.passed, report.lost) == (20, 1), report
            sent = stream.packets_sent(name)
            assert sent is not None and report.sent >= 20 and sent >= report.sent
        assert stream.reports() == [] and stream.packets_sent("eve") is None


def test_of_a_flood_of_rtcp_a_bounded_number_of_packets_waits() -> None:
    with media_socket("127.0.0.1") as sock, Ear() as ear:
        feedback = Feedback([sock])
        for _ in range(2 * MOST_KEPT_PACKETS // 64):
            for number in range(64):
                ear.send_rtcp(receiver_report(block(7, highest=number)), sock.getsockname())
            feedback.poll()
        assert feedback.rtcp == 2 * MOST_KEPT_PACKETS and len(feedback.packets) == MOST_KEPT_PACKETS
        assert feedback.packets[-1].data == receiver_report(block(7, highest=63)), "the oldest are dropped"
