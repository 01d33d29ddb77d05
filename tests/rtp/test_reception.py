"""What a receiver reports, brought within what was sent, and summed up for a call. Literal clocks."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moh.rtp.reception import NO_REPORTS, SLACK, Reception, StreamReport, percent, stream_report
from moh.rtp.rtcp import bye
from tests.support.rtcp import block, receiver_report

SSRC, FIRST = 7, 65_000


def read(*blocks: bytes, sent: int = 1000, clock_rate: int = 8000, tail: bytes = b"") -> Optional[StreamReport]:
    return stream_report(receiver_report(*blocks) + tail, "ann", SSRC, FIRST, sent, clock_rate)


def about(highest: int, lost: int = 0, jitter: int = 0, fraction: int = 0) -> bytes:
    return block(SSRC, fraction, lost, highest, jitter)


@pytest.mark.parametrize(
    ("highest", "sent", "passed"),
    [
        (FIRST, 1, 1),
        (FIRST + 99, 1000, 100),
        (0x1_0000 + 463, 1000, 1000),  # the number has wrapped once: 65,000 to 65,535 are 536 packets
        (463, 1000, 1000),  # the phone does not count wraps
        (0x5_0000 + 463, 1000, 1000),  # the phone counts them from anywhere
        (0x3_0000 + FIRST - 1, 3 * 65_536, 3 * 65_536),  # an hour of packets
        (FIRST + 1020, 1000, 1021),  # an ffmpeg that has sent more than estimated
        (FIRST - 10, 1000, 0),  # a number before the first
    ],
)
def test_the_packets_that_have_passed_are_counted_from_the_first(highest: int, sent: int, passed: int) -> None:
    found = read(about(highest), sent=sent)
    assert found is not None and found.passed == passed


@pytest.mark.parametrize(("lost", "counted"), [(0, 0), (5, 5), (-3, 0), (100, 100), (0x7FFFFF, 100), (-0x800000, 0)])
def test_the_lost_packets_are_none_to_all(lost: int, counted: int) -> None:
    first, second = read(about(FIRST)), read(about(FIRST + 99, lost))
    assert first is not None and second is not None and second.passed == 100
    reception = NO_REPORTS.with_report(first, 0.0, 1.0).with_report(second, 0.0, 5.0)
    assert (reception.passed, reception.lost) == (100, counted)


@pytest.mark.parametrize(("clock_rate", "jitter", "ms"), [(8000, 16, 2.0), (48000, 96, 2.0), (8000, 0, 0.0)])
def test_jitter_is_in_units_of_the_clock_rate(clock_rate: int, jitter: int, ms: float) -> None:
    """G.722 has 8000 too, though it has 16,000 samples a second (RFC 3551 §4.5.2); Opus has 48,000 (RFC 7587 §4.1)."""
    found = read(about(FIRST, jitter=jitter), clock_rate=clock_rate)
    assert found is not None and found.jitter * 1000 == ms


@pytest.mark.parametrize("data", [(), (block(8, 0, 5, FIRST),)])
def test_a_report_that_names_no_packet_of_the_stream_is_one(data: tuple[bytes, ...]) -> None:
    assert read(*data) == StreamReport("ann", SSRC, 1000, 0, 0, 0.0, 0.0)
    assert read(*data, tail=bye(99, "phone")) is None, "an empty report in front of a BYE says nothing"


def test_of_two_blocks_about_the_stream_the_last_counts_also_before_a_bye() -> None:
    found = read(about(FIRST + 9), about(FIRST + 19), tail=bye(99, "phone"))
    assert found is not None and found.passed == 20


@given(*[st.integers(0, 2**32 - 1)] * 3, st.integers(-(2**23), 2**23 - 1), st.integers(0, 10**7))
def test_no_numbers_lead_out_of_bounds(highest: int, jitter: int, first: int, lost: int, sent: int) -> None:
    data = receiver_report(block(SSRC, 255, lost, highest, jitter))
    found = stream_report(data, "ann", SSRC, first % 65536, sent, 8000)
    assert found is not None and 0 <= found.passed <= sent + SLACK
    for reception in (NO_REPORTS.with_report(found, 0.0, 1.0), after((5.0, report(1)), (9.0, found))):
        assert 0 <= reception.lost <= reception.passed <= max(sent + SLACK, 1)
        assert len(reception.text()) < 100


# -- the reception of a call -----------------------------------------------------------------------------------------


def report(passed: int, lost: int = 0, jitter: float = 0.002, ssrc: int = SSRC, fraction: float = 0.0) -> StreamReport:
    return StreamReport("ann", ssrc, 10_000, passed, lost, fraction, jitter)


def after(*reports: tuple[float, StreamReport], began: float = 0.0) -> Reception:
    """Return the reception after ``reports``, each with the time at which it came."""
    reception = NO_REPORTS
    for now, each in reports:
        reception = reception.with_report(each, began, now)
    return reception


def test_without_a_report_the_text_says_so() -> None:
    assert NO_REPORTS.text() == "no report from the receiver"


@pytest.mark.parametrize(
    ("reports", "text"),
    [
        ([(5.0, report(250, 0))], "the receiver reported 0 % lost, jitter 2 ms"),
        ([(5.0, report(250, 5)), (10.0, report(3000, 3))], "the receiver reported 0.1 % lost, jitter 2 ms"),
        ([(5.0, report(10_000, 1))], "the receiver reported less than 0.1 % lost, jitter 2 ms"),
        ([(5.0, report(250, 250))], "the receiver reported 100.0 % lost, jitter 2 ms"),
        ([(5.0, report(250, 0, jitter=70_000.0))], "the receiver reported 0 % lost, jitter above 10 s"),
        ([(5.0, report(0))], "the receiver's reports name no packet of the music"),
        (
            [(5.0, report(250)), (10.0, report(250)), (20.0, report(250))],
            "the receiver reported 0 % lost, jitter 2 ms, and nothing in its last 15 s",
        ),
    ],
)
def test_the_text_says_what_was_reported_last(reports: list[tuple[float, StreamReport]], text: str) -> None:
    assert after(*reports).text() == text


def test_the_streams_before_and_after_a_hold_count_together() -> None:
    reception = after((5.0, report(900, 10)), (50.0, report(100, 0, ssrc=8)), (55.0, report(200, 0, ssrc=8)))
    assert reception.loss == 10 / 1100
    assert reception.text() == "the receiver reported 0.9 % lost, jitter 2 ms"


def again(before: Reception, *reports: tuple[float, StreamReport], began: float) -> Reception:
    """Return the reception after ``reports`` of a stream that began later."""
    for now, each in reports:
        before = before.with_report(each, began, now)
    return before


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize("pause", [100, 2000])
def test_packets_that_went_to_others_during_two_holds_are_not_lost(pause: int, between: bool) -> None:
    """The shared stream gives a call two SSRCs in turn, so the third stream of a call has that of the first.

    The receiver counts the packets of the pause as lost if it has kept its state of this SSRC. The second stream may
    be too short for a report: ``between``.
    """
    reception = after((5.0, report(250)), (10.0, report(500, 2)))
    if between:
        reception = again(reception, (35.0, report(250, ssrc=8)), began=30.0)
    reception = again(reception, (55.0, report(250, 2 + pause)), (60.0, report(500, 2 + pause)), began=50.0)
    assert (reception.former_lost + reception.lost, reception.nothing_arrives) == (2, False)
    reception = again(reception, (65.0, report(750, 5 + pause)), began=50.0)
    assert reception.loss == 5 / (1500 if between else 1250)


def test_a_receiver_that_counts_anew_after_two_holds_is_believed() -> None:
    reception = after((5.0, report(250)), (10.0, report(250, ssrc=8)))
    reception = again(reception, (55.0, report(250, 40)), (60.0, report(500, 0)), (65.0, report(750, 7)), began=50.0)
    assert reception.loss == 7 / 1250


def test_more_loss_than_packets_in_the_first_report_was_before_the_stream() -> None:
    """The stream of this SSRC that the receiver had before was too short for a report."""
    assert after((5.0, report(250, 3000)), (10.0, report(500, 3004))).loss == 4 / 500


def test_a_stream_that_begins_with_loss_has_it_counted() -> None:
    assert after((5.0, report(250, 100)), (10.0, report(500, 100))).loss == 0.2
    assert after((5.0, report(900)), (50.0, report(100, 60, ssrc=8))).loss == 0.06


@pytest.mark.parametrize(
    ("reports", "nothing"),
    [
        ([(5.0, report(0)), (10.0, report(0))], True),
        ([(0.1, report(0)), (5.0, report(0))], False),  # not long enough
        ([(9.0, report(0))], False),  # one report alone
        ([(9.0, report(250)), (17.0, report(250))], False),
        ([(9.0, report(250)), (14.0, report(250)), (19.0, report(250))], True),
        ([(9.0, report(250)), (14.0, report(250)), (19.0, report(251))], False),
        # all are lost, though the numbers count on
        ([(n, report(int(n), 1, fraction=255 / 256)) for n in (5.0, 10.0)], True),
        ([(n, report(int(n), 1, fraction=0.9)) for n in (5.0, 10.0)], False),
        # a stream that has just begun
        ([(5.0, report(250)), (10.0, report(250)), (14.0, report(0, ssrc=8))], False),
    ],
)
def test_nothing_arrives_after_two_reports_and_eight_seconds(
    reports: list[tuple[float, StreamReport]], nothing: bool
) -> None:
    assert after(*reports).nothing_arrives is nothing


@pytest.mark.parametrize(
    ("part", "text"), [(0.0, "0 %"), (0.0001, "less than 0.1 %"), (0.0005, "0.1 %"), (0.123, "12.3 %"), (1, "100.0 %")]
)
def test_a_percentage_is_zero_only_for_nothing(part: float, text: str) -> None:
    assert percent(part) == text
