"""Joints: places, levels and steps, of sounds whose samples are known."""

from __future__ import annotations

import math
from array import array

import pytest

from moh.mastering.joints import (
    FADE,
    MARGIN,
    PACKETS,
    TAIL,
    Ends,
    Joint,
    Row,
    find_ends,
    joint_of,
    sound_of,
    whole_packets,
)
from moh.mastering.lowering import TICKS

HARD = Ends(80000, 0, 80000, False)


def ends_of(samples: array[int]) -> Ends:
    return find_ends(lambda begin, end: samples[begin:end], len(samples))


def tone(ticks: int, level: float = 3000) -> list[int]:
    return [round(level * math.sin(0.5 * i)) for i in range(ticks)]


def test_a_tone_from_end_to_end_ends_hard() -> None:
    assert ends_of(array("h", tone(24000))) == Ends(24000, 0, 24000, False)


def test_silence_at_both_ends_is_found_to_a_block() -> None:
    ends = ends_of(array("h", [0] * 1000 + tone(24000) + [0] * 2000))
    assert 960 <= ends.first <= 1000 and 25000 <= ends.last <= 25040 and not ends.faded
    assert ends.begin == ends.first - MARGIN


def test_a_fade_ends_where_it_falls_silent() -> None:
    fading = [round(value * (1 - i / 16000) ** 3) for i, value in enumerate(tone(16000))]
    ends = ends_of(array("h", tone(40000) + fading))
    assert ends.faded and 40000 < ends.last < 55000


def test_a_tail_that_is_known_is_not_looked_for() -> None:
    fading = [round(value * (1 - i / 16000)) for i, value in enumerate(tone(16000))]
    ends = find_ends(lambda begin, end: array("h", tone(40000) + fading)[begin:end], 56000, 12000)
    assert (ends.last, ends.faded) == (44000, True)


def test_a_long_quiet_end_is_music() -> None:
    ends = ends_of(array("h", tone(40000) + tone(16000, 50)))
    assert ends.last == 56000


def test_silence_has_ends() -> None:
    assert ends_of(array("h", [0] * 4000)) == Ends(4000, 0, 4000, True)


def test_after_a_hard_end_the_next_piece_sets_in_at_the_middle_of_its_fade() -> None:
    joint = joint_of(HARD, HARD)
    assert joint.end == 80000 and joint.fade == joint.end - FADE and joint.start == joint.end - FADE // 2


def test_the_first_sound_and_not_the_silence_before_it_sets_in_there() -> None:
    joint = joint_of(HARD, Ends(80000, 300, 80000, False))
    assert joint.start + MARGIN == joint.end - FADE // 2


def test_a_faded_end_sounds_on_under_the_next_piece() -> None:
    joint = joint_of(Ends(90000, 0, 70000, True), HARD)
    assert (joint.start, joint.end) == (70000, 70000 + TAIL)


def test_the_loop_has_whole_packets() -> None:
    joint = joint_of(HARD, HARD)
    moved = whole_packets(joint, HARD, 100 * PACKETS + 7)
    assert moved.start == joint.start - 7 and moved.end == joint.end - 7
    assert Row([HARD, Ends(79001, 3, 78000, True)]).length % PACKETS == 0


def test_a_row_is_repeated_in_a_circle() -> None:
    row = Row([HARD, Ends(40000, 0, 40000, False)], 3)
    assert len(row.begins) == len(row.joints) == 6
    assert [after - before for before, after in zip(row.begins, row.begins[1:])] == [79904, 39904] * 2 + [79904]


@pytest.mark.parametrize("length", [800, 1000, 1234, 4000])
def test_joints_of_very_short_pieces_do_not_meet(length: int) -> None:
    for faded in (False, True):
        row = Row([Ends(length, 10, length - 20, faded)] * 2)
        joint, ends = row.joints[0], row.ends[0]
        head = ends.begin + joint.end - joint.start + joint.pad
        assert 0 <= head <= joint.fade - joint.pad < joint.start < joint.end <= length


def around(joint: Joint, former: list[int], following: list[int], ceiling: float = 16000.0) -> list[float]:
    ending = array("h", former[joint.fade - joint.pad : joint.end])
    beginning = array("h", following[: joint.end - joint.start + joint.pad])
    return sound_of(ending, beginning, joint, TICKS, ceiling)


def test_the_level_stays_at_a_hard_joint() -> None:
    """Both tones have the same level. It stays within 3.5 dB in each 5 ms, and there is no step beyond the tones'."""
    former, following = tone(80000), [round(3000 * math.sin(0.7 * i + 1)) for i in range(80000)]
    sound = around(joint_of(HARD, HARD), former, following)
    levels = [math.sqrt(sum(v * v for v in sound[at : at + 40]) / 40) for at in range(0, len(sound) - 40, 20)]
    assert max(abs(20 * math.log10(level / 3000 * math.sqrt(2))) for level in levels) < 3.5
    own = max(abs(after - before) for before, after in zip(following, following[1:]))
    assert max(abs(after - before) for before, after in zip(sound, sound[1:])) <= 1.5 * own


def test_the_next_piece_keeps_its_attack() -> None:
    following = Ends(80000, 200, 80000, False)
    joint = joint_of(HARD, following)
    attack = [0] * MARGIN + tone(2000)
    sound = around(joint, [0] * 80000, attack)
    start = joint.start - joint.fade + joint.pad
    assert sound[start:] == attack[: len(sound) - start]


def test_a_sum_above_the_ceiling_is_lowered() -> None:
    sound = around(joint_of(HARD, HARD), tone(80000, 15000), tone(80000, 15000), 15500.0)
    assert max(map(abs, sound)) <= 15500.0
