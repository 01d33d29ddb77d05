"""What goes where: pure figures, no sound."""

from __future__ import annotations

import pytest

from moh.mastering.arrangement import JOINING, REST, first_at, how_many_fit, plan, seconds_of
from moh.mastering.lowering import DOWN, HOLD, TICKS, UP, window

HOUR = 3600 * TICKS


def announced(pieces: list[float], spoken: float, every: float) -> tuple[int, list[float]]:
    """The repeats of pieces of these lengths in seconds, and the seconds at which the voice begins."""
    joints = [round(sum(pieces[:number]) * TICKS) for number in range(1, len(pieces))]
    once = round(sum(pieces) * TICKS)
    found = plan(joints, once, lambda repeats: repeats * once, round(spoken * TICKS), every)
    return found.repeats, [(begin + DOWN) / TICKS for begin in found.windows]


def apart(begins: list[float], length: float) -> list[float]:
    """The seconds from each begin to the next, the last one across the loop point."""
    return [after - before for before, after in zip(begins, [*begins[1:], begins[0] + length])]


def test_an_hour_holds_the_first_pieces_that_fit() -> None:
    assert how_many_fit([1800.0, 1800.0, 1.0]) == 2
    assert how_many_fit([1800.0, 1801.0]) == 1
    assert how_many_fit([200.0] * 5) == 5


def test_a_piece_of_more_than_an_hour_is_an_arrangement_of_its_own() -> None:
    assert how_many_fit([3700.0, 10.0]) == 1


def test_without_announcement_nothing_is_repeated() -> None:
    assert announced([10.0, 10.0], 0.0, 60.0) == (1, [])


def test_the_first_seconds_have_no_announcement() -> None:
    assert first_at(60.0) == 60 * TICKS
    assert first_at(0.0) == first_at(5.0) == REST


@pytest.mark.parametrize("every", [20.0, 30.0, 60.0, 90.0, 300.0])
@pytest.mark.parametrize("spoken", [0.3, 8.0, 45.0])
@pytest.mark.parametrize("length", [1.0, 7.3, 29.0, 61.0, 180.0, 192.5, 1000.0, 3599.0])
def test_announcements_are_even_and_leave_the_begin_of_the_loop_alone(
    length: float, spoken: float, every: float
) -> None:
    repeats, begins = announced([length], spoken, every)
    whole = length * repeats
    wanted = max(every, spoken + 20.0)
    lead, behind = DOWN / TICKS, (HOLD + UP) / TICKS
    assert whole <= 3600 and begins[0] - lead == every + JOINING / TICKS
    assert begins[-1] + spoken + behind <= whole + 1 / TICKS
    steps = apart(begins, whole)
    assert min(steps) >= wanted - 1 / TICKS
    assert max(steps[:-1], default=0.0) - min(steps[:-1], default=0.0) <= 2 / TICKS
    assert steps[-1] <= max(steps[:-1], default=whole) + lead + spoken + behind + (JOINING + 1) / TICKS


def test_an_hour_has_an_announcement_about_each_minute() -> None:
    repeats, begins = announced([3600.0], 8.0, 60.0)
    assert (repeats, len(begins)) == (1, 59)
    assert all(60 <= between < 61 for between in apart(begins, 3600.0)[:-1])


def test_a_short_loop_is_repeated_until_there_is_room_for_the_announcement() -> None:
    assert announced([10.0], 7.0, 60.0) == (7, [60.95])


def test_an_announcement_longer_than_the_interval_is_followed_by_20_s_of_music() -> None:
    _, begins = announced([3600.0], 100.0, 30.0)
    assert min(apart(begins, 3600.0)) >= 120.0


def test_an_interval_longer_than_the_loop_can_be_gives_one_announcement_at_its_end() -> None:
    repeats, [begin] = announced([3000.0], 8.0, 7200.0)
    assert repeats == 1
    assert begin + 8.0 + (HOLD + UP) / TICKS == 3000.0


def test_ten_minutes_are_spoken_and_more_is_not() -> None:
    assert announced([900.0], 600.0, 60.0)[1] == [60.95]
    assert announced([900.0], 600.1, 60.0) == (1, [])


def test_the_voice_begins_at_each_joint_and_ends_with_the_loop() -> None:
    assert announced([100.0, 90.0, 110.0], 8.0, 0.0) == (1, [100.0, 190.0, 300.0 - 8.0 - (HOLD + UP) / TICKS])


def test_short_pieces_come_again_until_the_voice_has_room_at_the_end() -> None:
    assert announced([15.0, 9.5], 2.0, 0.0) == (1, [24.5 - 2.0 - (HOLD + UP) / TICKS])
    assert announced([15.0], 7.0, 0.0) == (2, [30.0 - 7.0 - (HOLD + UP) / TICKS])


@pytest.mark.parametrize("every", [0.0, 20.0, 60.0])
@pytest.mark.parametrize("length", [800, 4001, 24000, 240000])
def test_a_loop_cut_to_whole_packets_has_room_for_its_announcements(length: int, every: float) -> None:
    found = plan([], length, lambda repeats: repeats * length - 799, TICKS, every)
    assert found.windows[-1] + window(TICKS) <= found.repeats * length - 799


def test_a_single_piece_has_its_joint_at_the_end_of_the_loop() -> None:
    repeats, [begin] = announced([60.0], 8.0, 0.0)
    assert repeats == 1
    assert begin + 8.0 + (HOLD + UP) / TICKS == 60.0


def test_joints_too_near_to_an_announcement_have_none() -> None:
    _, begins = announced([15.0] * 10, 8.0, 0.0)
    assert begins[:3] == [30.0, 60.0, 90.0]
    assert min(apart(begins, 150.0)) >= 28.0


def test_pieces_shorter_than_the_first_20_s_are_repeated() -> None:
    repeats, [begin] = announced([5.0], 2.0, 0.0)
    assert repeats == 5
    assert begin - DOWN / TICKS >= 20.0


@pytest.mark.parametrize("pieces", [[0.5], [3.0, 4.0], [40.0, 40.0], [15.0, 200.0, 21.0, 9.0], [1750.0, 1750.0, 99.0]])
@pytest.mark.parametrize("spoken", [0.3, 8.0, 600.0])
def test_there_are_20_s_of_music_between_any_two_announcements_at_joints(pieces: list[float], spoken: float) -> None:
    repeats, begins = announced(pieces, spoken, 0.0)
    assert sum(pieces) * repeats <= 3600 and begins[0] - DOWN / TICKS >= 20.0
    assert min(apart(begins, sum(pieces) * repeats)) >= spoken + 20.0 - 1 / TICKS


def test_windows_are_given_in_seconds_with_their_ramps() -> None:
    assert seconds_of([8000], 16000) == ((1.0, 1.0 + window(16000) / TICKS),)
