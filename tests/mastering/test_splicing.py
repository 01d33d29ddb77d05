"""The files of an arrangement, sample by sample."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from moh.mastering.joints import Row, find_ends
from moh.mastering.lowering import TICKS, window
from moh.mastering.prepare import RATES, Music
from moh.mastering.splicing import Sound, write_announced, write_row
from tests.mastering.mastered import gap, mastered, step, tone, write
from tests.mastering.tracks import samples_of

LEVEL = 6500


def row_of(parts: list[Music], repeats: int = 1) -> Row:
    ends = []
    for part in parts:
        with Sound(part.paths[TICKS], TICKS) as sound:
            ends.append(find_ends(sound.read, sound.length))
    return Row(ends, repeats)


def written(parts: list[Music], folder: Path, repeats: int = 1) -> tuple[Row, dict[int, array[int]]]:
    row = row_of(parts, repeats)
    for rate in RATES:
        write_row(row, [part.paths[rate] for part in parts], folder / f"{rate}.wav", rate, 16000.0)
    return row, {rate: samples_of(folder / f"{rate}.wav") for rate in RATES}


def test_joints_have_no_gap_and_no_step_and_are_at_the_same_instants(tmp_path: Path) -> None:
    low, high = mastered(tmp_path, "low", 2.0, tone(440)), mastered(tmp_path, "high", 3.0, tone(620, phase=1.0))
    row, made = written([low, high], tmp_path)
    for rate, samples in made.items():
        assert len(samples) == row.length * rate // TICKS
        own = max(step(samples_of(part.paths[rate])) for part in (low, high))
        circle = samples + samples[:rate]
        assert step(circle) <= 1.5 * own
        assert gap(circle, rate, LEVEL // 20) < 5.0
    # all but the sound at the joints is as it was
    at = row.begins[1]
    assert made[8000][4000 : at - 4000] == samples_of(low.paths[8000])[4000 : at - 4000]
    assert made[16000][2 * at + 4000 : 2 * at + 24000] == samples_of(high.paths[16000])[4000:24000]


def test_a_fade_out_lies_under_the_next_piece(tmp_path: Path) -> None:
    def fading(at: float) -> float:
        return tone(440)(at) * min(1.0, max(0.0, (4.0 - at) / 2)) ** 3

    former, following = mastered(tmp_path, "fading", 4.0, fading), mastered(tmp_path, "next", 2.0, tone(1000))
    row, made = written([former, following], tmp_path)
    assert 2.5 < row.begins[1] / TICKS < 3.5
    assert gap(made[8000] + made[8000][:8000], 8000, LEVEL // 30) < 5.0


def test_repeated_pieces_come_again(tmp_path: Path) -> None:
    part = mastered(tmp_path, "part", 2.0, tone(440))
    row, made = written([part], tmp_path, 3)
    first, second, third = row.begins
    whole = made[8000]
    assert whole[first + 1000 : first + 9000] == whole[second + 1000 : second + 9000]
    assert whole[second + 1000 : second + 9000] == whole[third + 1000 : third + 9000]


def test_outside_its_windows_an_announced_file_is_the_plain_one(tmp_path: Path) -> None:
    music, voice = mastered(tmp_path, "music", 8.0, tone(440)), mastered(tmp_path, "voice", 1.0, tone(1000, 0.4))
    begins = [8000, 40001]
    for rate in RATES:
        target = tmp_path / f"announced {rate}.wav"
        write_announced(music.paths[rate], voice.paths[rate], begins, target, rate, 16000.0)
        plain, announced = samples_of(music.paths[rate]), samples_of(target)
        assert len(plain) == len(announced)
        each = rate // TICKS
        changed = [i // each for i, (before, after) in enumerate(zip(plain, announced)) if before != after]
        whole = window(8000)
        assert all(any(begin <= tick < begin + whole for begin in begins) for tick in changed)
        assert len(changed) > whole * each


def test_each_step_is_reported_and_can_cancel(tmp_path: Path) -> None:
    part = mastered(tmp_path, "part", 2.0, tone(440))
    row = row_of([part])
    done: list[int] = []
    write_row(row, [part.paths[8000]], tmp_path / "made.wav", 8000, 16000.0, done.append)
    assert sum(done) == row.length

    def cancel(ticks: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_row(row, [part.paths[8000]], tmp_path / "other.wav", 8000, 16000.0, cancel)


@pytest.mark.parametrize("content", [b"", b"no WAV file"])
def test_a_file_that_is_no_converted_music_is_an_oserror(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "foreign.wav").write_bytes(content)
    with pytest.raises(OSError, match="expected a WAV file"):
        Sound(tmp_path / "foreign.wav", 8000)


def test_another_sample_rate_is_an_oserror(tmp_path: Path) -> None:
    write(tmp_path / "other.wav", 44100, array("h", [0] * 1000))
    with pytest.raises(OSError, match="expected"):
        Sound(tmp_path / "other.wav", 8000)
