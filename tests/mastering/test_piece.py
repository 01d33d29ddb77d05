"""Where a piece and an announcement begin and end: samples in, samples out."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from moh.mastering.loop import CROSSFADE, LEAD, RATE, WRAP, Loop
from moh.mastering.piece import BREATH, LAST_SOUND, ONSET, TAIL, cut_piece, cut_speech

LEVEL = 4000.0
"""The level of the music, as a root mean square."""


def tone(seconds: float, decibels: float = 0.0) -> list[int]:
    """A tone ``decibels`` above ``LEVEL``."""
    peak = LEVEL * math.sqrt(2) * 10 ** (decibels / 20)
    return [round(peak * math.sin(2 * math.pi * 1000 * i / RATE + 1)) for i in range(round(seconds * RATE))]


def fading(seconds: float, by: float) -> list[int]:
    """A tone that falls by ``by`` dB."""
    samples = tone(seconds)
    return [round(value * 10 ** (-by * i / len(samples) / 20)) for i, value in enumerate(samples)]


SECOND = [0] * RATE


def cut(
    folder: Path, music: Sequence[int], cutter: Callable[[Path, Path, float], Loop] = cut_piece
) -> tuple[Loop, list[int]]:
    """Cut ``music``; return the places, and the samples from ``LEAD`` before it to ``LEAD`` after it."""
    path, heard = folder / "mono", folder / "heard"
    samples = array("h", [*([0] * LEAD), *music, *([0] * WRAP)])
    path.write_bytes(samples.tobytes())
    heard.write_bytes(samples.tobytes())
    piece = cutter(path, heard, LEVEL)
    assert not piece.closed and piece.seam == ""
    if not piece.length:
        return piece, []
    found = array("h", path.read_bytes()).tolist()
    assert len(found) == piece.start + piece.length + LEAD
    assert not any(found[piece.start - LEAD : piece.start]), "the filters begin in silence"
    assert not any(found[-LEAD:]), "nothing of the beginning follows the end"
    return piece, found[piece.start : piece.start + piece.length]


def test_silence_at_both_ends_is_cut_and_the_attack_is_whole(tmp_path: Path) -> None:
    music = tone(2)
    piece, found = cut(tmp_path, [*SECOND, *music, *SECOND])
    assert found[ONSET:-CROSSFADE] == music
    assert not any(found[:ONSET]) and not any(found[-CROSSFADE:])
    assert piece.trimmed == 2 * RATE - ONSET - CROSSFADE
    assert piece.tail == CROSSFADE


def test_music_that_is_loud_at_its_ends_is_left_as_it_is(tmp_path: Path) -> None:
    """Such as a movement that leads into the next one."""
    music = tone(2)
    piece, found = cut(tmp_path, music)
    assert found == music
    assert (piece.trimmed, piece.tail) == (0, 0)


def test_a_piece_has_whole_samples_at_half_the_rate(tmp_path: Path) -> None:
    piece, found = cut(tmp_path, tone(2)[:-1])
    assert piece.length == len(found) == 2 * RATE - 2


def test_the_end_of_a_fade_is_the_tail(tmp_path: Path) -> None:
    """The fade falls by 10 dB a second: 22 dB are heard, and the next 18 dB are kept."""
    piece, found = cut(tmp_path, [*tone(6), *fading(6, 60), *SECOND])
    assert piece.tail == pytest.approx(1.8 * RATE, abs=0.1 * RATE)
    heard = len(found) - piece.tail
    assert heard == pytest.approx(8.2 * RATE, abs=0.1 * RATE)
    assert max(map(abs, found[heard - RATE // 10 : heard])) > 0.05 * LEVEL
    assert max(map(abs, found[-RATE // 50 :])) < 0.001 * LEVEL, "it dies away to nothing"


def test_a_long_fade_has_a_tail_of_2_s(tmp_path: Path) -> None:
    piece, _ = cut(tmp_path, [*tone(1), *fading(20, 60), *SECOND])
    assert piece.tail == TAIL


def test_a_fade_that_the_file_breaks_off_has_a_short_tail(tmp_path: Path) -> None:
    piece, found = cut(tmp_path, [*tone(1), *fading(2, 20)])
    assert piece.tail == CROSSFADE
    assert len(found) == 3 * RATE


def test_hiss_behind_the_music_dies_away(tmp_path: Path) -> None:
    """A hiss 30 dB below the music is no music. What is kept of it ends in nothing, so that no step is heard."""
    _, found = cut(tmp_path, [*tone(2), *tone(1, -30)])
    steps = [abs(b - a) for a, b in zip(found[2 * RATE :], found[2 * RATE + 1 :])]
    assert abs(found[-1]) <= max(steps)
    assert len(found) - 2 * RATE <= TAIL


@pytest.mark.parametrize("cutter", [cut_piece, cut_speech])
@pytest.mark.parametrize("music", [SECOND, [], tone(1, -45)], ids=["silence", "nothing", "hiss"])
def test_silence_is_no_piece(tmp_path: Path, cutter: Callable[[Path, Path, float], Loop], music: list[int]) -> None:
    piece, _ = cut(tmp_path, music, cutter)
    assert piece.length == 0


def test_speech_keeps_its_soft_consonants(tmp_path: Path) -> None:
    soft = tone(0.1, -30)
    piece, found = cut(tmp_path, [*SECOND, *soft, *tone(1), *soft, *SECOND], cut_speech)
    assert len(found) == RATE + BREATH + LAST_SOUND
    assert piece.tail == 0
    at = BREATH - len(soft)
    assert found[at : at + len(soft)] == soft
    assert max(map(abs, found[BREATH + RATE : BREATH + RATE + len(soft)])) > 0.02 * LEVEL


def test_noise_of_6_s_in_front_of_speech_is_cut(tmp_path: Path) -> None:
    """In music that would be a quiet passage."""
    noise = tone(6, -30)
    _, found = cut(tmp_path, [*noise, *tone(1), *noise], cut_speech)
    assert len(found) == RATE + BREATH + LAST_SOUND
    assert max(map(abs, found[:20])) < 0.01 * LEVEL and max(map(abs, found[-20:])) < 0.01 * LEVEL
    _, found = cut(tmp_path, [*noise, *tone(1), *noise])
    assert len(found) == pytest.approx(13 * RATE, abs=0.1 * RATE)
