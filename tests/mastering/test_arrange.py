"""Arrangements in the cache: what is in an entry, when it is made again, and what is wrong."""

from __future__ import annotations

import errno
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.mastering import arrange as module
from moh.mastering import splicing
from moh.mastering.arrange import DETAILS, Arranged, arrange
from moh.mastering.cache import Lock, length_of
from moh.mastering.lowering import TICKS, window
from moh.mastering.prepare import Music
from tests.mastering.mastered import mastered, tone
from tests.mastering.tracks import samples_of, settings


@pytest.fixture
def cache(tmp_path: Path) -> Settings:
    return settings("", tmp_path / "cache", MOH_ANNOUNCE="20s")


@pytest.fixture
def parts(tmp_path: Path) -> list[Music]:
    return [mastered(tmp_path, "1.mp3", 6.0, tone(440)), mastered(tmp_path, "2.mp3", 7.0, tone(620))]


@pytest.fixture
def voice(tmp_path: Path) -> Music:
    return mastered(tmp_path, "announce.mp3", 1.0, tone(1000, 0.4))


def entries(made: Arranged) -> list[str]:
    return sorted(path.name for path in made.folder.parent.iterdir())


def test_pieces_are_arranged_once(tmp_path: Path, parts: list[Music], cache: Settings) -> None:
    made = arrange(tmp_path, parts, None, cache)
    assert {length_of(path) for path in made.paths.values()} == {made.seconds}
    assert [source.name for source, _ in made.pieces] == ["1.mp3", "2.mp3"]
    assert made.pieces[0][1] == 0.0 and 5.9 < made.pieces[1][1] < 6.0
    assert (made.plain, made.plain_for, made.announcements) == ({}, 0.0, ())
    assert made.took > 0 and made.report == "2 pieces in a row, without gaps"
    assert arrange(tmp_path, parts, None, cache) == replace(made, took=0.0)


def test_the_loudness_is_that_of_the_pieces_together(tmp_path: Path, parts: list[Music], cache: Settings) -> None:
    assert arrange(tmp_path, parts, None, cache).loudness is None, "that of the pieces is not known"
    loud, soft = (replace(parts[number], loudness=loudness) for number, loudness in ((0, -20.0), (1, -26.0)))
    found = arrange(tmp_path, [loud, soft], None, cache).loudness
    share = loud.seconds / (loud.seconds + soft.seconds)
    assert found == pytest.approx(10 * math.log10(share * 10**-2 + (1 - share) * 10**-2.6), abs=0.06)


def test_the_plain_twin_is_the_same_outside_the_announcements(
    tmp_path: Path, parts: list[Music], voice: Music, cache: Settings
) -> None:
    made = arrange(tmp_path, parts, voice, cache)
    assert made.plain_for == 20.0 and made.announcements[0][0] == 20.5
    assert made.announcements[0][1] == 20.5 + window(TICKS) / TICKS
    for rate, path in made.paths.items():
        announced, plain = samples_of(path), samples_of(made.plain[rate])
        assert len(announced) == len(plain) == round(made.seconds * rate)
        begin, end = (round(at * rate) for at in made.announcements[0])
        assert announced[:begin] == plain[:begin] and announced[begin:end] != plain[begin:end]
    assert arrange(tmp_path, parts, voice, cache) == replace(made, took=0.0)
    assert "an announcement of 1 s every" in made.report and "played 2 times" in made.report


def test_order_announcement_and_settings_make_another_entry(
    tmp_path: Path, parts: list[Music], voice: Music, cache: Settings
) -> None:
    names = {
        arrange(tmp_path, parts, None, cache).folder.name,
        arrange(tmp_path, parts[::-1], None, cache).folder.name,
        arrange(tmp_path, parts, voice, cache).folder.name,
        arrange(tmp_path, parts, voice, replace(cache, announce=0.0)).folder.name,
        arrange(tmp_path, parts, voice, replace(cache, loudness=-20.0)).folder.name,
        arrange(tmp_path / "other", parts, None, cache).folder.name,
    }
    assert len(names) == 6
    unannounced = arrange(tmp_path, parts, None, replace(cache, announce=0.0)).folder.name
    assert unannounced in names


def test_a_former_arrangement_of_the_folder_is_removed_unless_it_is_locked(
    tmp_path: Path, parts: list[Music], cache: Settings
) -> None:
    former = arrange(tmp_path, parts, None, cache)
    held = Lock(former.folder)
    former = replace(former, lock=None)
    made = arrange(tmp_path, parts[:1], None, cache)
    assert former.folder.name in entries(made)
    del held
    arrange(tmp_path, parts[:1], None, cache)
    assert entries(made) == [made.folder.name]


@pytest.mark.parametrize("spoilt", ["8000.wav", "16000-plain.wav", DETAILS])
def test_an_entry_with_a_cut_off_file_is_made_again(
    tmp_path: Path, parts: list[Music], voice: Music, cache: Settings, spoilt: str
) -> None:
    made = arrange(tmp_path, parts, voice, cache)
    path = made.folder / spoilt
    path.write_bytes(path.read_bytes()[:-50])
    again = arrange(tmp_path, parts, voice, cache)
    assert again.took > 0 and replace(again, took=0.0) == replace(made, took=0.0)
    assert {length_of(path) for path in again.plain.values()} == {made.seconds}
    assert entries(made) == [made.folder.name]


@pytest.mark.parametrize("held", ["[]", "{}", '{"announcements": [[1]]}', "\x00", '{"pieces": [["x", 1]]}'])
def test_details_that_are_none_are_made_again(tmp_path: Path, parts: list[Music], cache: Settings, held: str) -> None:
    made = arrange(tmp_path, parts, None, cache)
    (made.folder / DETAILS).write_text(held)
    assert arrange(tmp_path, parts, None, cache).took > 0


def test_a_piece_number_that_is_not_there_is_refused(tmp_path: Path, parts: list[Music], cache: Settings) -> None:
    made = arrange(tmp_path, parts, None, cache)
    details = json.loads((made.folder / DETAILS).read_text())
    (made.folder / DETAILS).write_text(json.dumps({**details, "pieces": [[7, 0.0]]}))
    with pytest.raises(SettingsError, match="has changed"):
        arrange(tmp_path, parts, None, cache)


def test_a_progress_function_can_cancel(tmp_path: Path, parts: list[Music], voice: Music, cache: Settings) -> None:
    shares: list[float] = []

    def cancel(share: float) -> None:
        shares.append(share)
        if share > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        arrange(tmp_path, parts, voice, cache, cancel)
    assert shares == sorted(shares)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_disk_without_room_is_named_before_anything_is_written(
    tmp_path: Path, parts: list[Music], cache: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(SettingsError, match=r"1 MB are needed, 0 MB are free in '.*cache'; expected room to write"):
        arrange(tmp_path, parts, None, cache)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_becomes_full_is_named(
    tmp_path: Path, parts: list[Music], cache: Settings, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, "full")

    monkeypatch.setattr(splicing.Target, "write", full)
    with pytest.raises(SettingsError, match="expected room to write"):
        arrange(tmp_path, parts, None, cache)


def test_a_part_that_is_gone_is_named(tmp_path: Path, parts: list[Music], cache: Settings) -> None:
    parts[1].paths[16000].unlink()
    with pytest.raises(SettingsError, match=r"Cannot write the converted music: .*16000.wav"):
        arrange(tmp_path, parts, None, cache)


def test_an_announcement_of_more_than_ten_minutes_is_not_spoken(
    tmp_path: Path, parts: list[Music], cache: Settings, monkeypatch: pytest.MonkeyPatch, voice: Music
) -> None:
    monkeypatch.setattr("moh.mastering.arrangement.LONGEST_SPOKEN", TICKS // 2)
    monkeypatch.setattr(module, "LONGEST_SPOKEN", TICKS // 2)
    made = arrange(tmp_path, parts, voice, cache)
    assert made.announcements == () and made.plain == {}
    assert "the announcement is not spoken" in made.report


def test_parts_beyond_an_hour_are_left_out(tmp_path: Path, parts: list[Music], cache: Settings) -> None:
    long = replace(parts[1], seconds=3599.0)
    made = arrange(tmp_path, [parts[0], long], None, cache)
    assert [source.name for source, _ in made.pieces] == ["1.mp3"]
    assert "the first 1 of 2, since more than 60 min are not kept at once" in made.report


def test_the_summary_is_one_line(tmp_path: Path, parts: list[Music], cache: Settings) -> None:
    made = arrange(tmp_path, parts, None, cache)
    assert replace(made, took=1.5).summary() == "13 s, put together in 1.5 s: 2 pieces in a row, without gaps"
