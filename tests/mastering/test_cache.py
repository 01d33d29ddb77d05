"""The cache of converted music: which entries are found, removed, or kept by another server's lock. No ffmpeg."""

from __future__ import annotations

import os
import time
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from moh.mastering.cache import (
    MOST_REPORT,
    PART,
    UNLOCKED_FOR,
    UNUSED_FOR,
    Entry,
    Found,
    Lock,
    digest_of,
    entry_of,
    length_of,
)  # fmt: skip

RATES = (8000, 16000)


def write_sound(path: Path, rate: int, seconds: float) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(bytes(2 * round(rate * seconds)))


def entry(cache: Path, track: Path, settings: str = "") -> Entry:
    """Return the cache entry for the present content of the track."""
    return entry_of(cache, track, digest_of(track), settings, RATES)


def convert(wanted: Entry, seconds: float = 0.5, report: str = "done") -> Found:
    """Write the files of an entry, as a conversion would."""
    with wanted.unfinished() as made:
        for rate, path in made.paths.items():
            write_sound(path, rate, seconds)
        return wanted.keep(made, report)


def make_old(folder: Path, age: float) -> None:
    then = time.time() - age
    os.utime(folder, (then, then))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


@pytest.fixture
def track(tmp_path: Path) -> Path:
    path = tmp_path / "track.mp3"
    path.write_text("first")
    return path


# -- entries that are found ----------------------------------------------------------------------------------------


def test_an_entry_is_found_as_it_was_kept(cache: Path, track: Path) -> None:
    wanted = entry(cache, track)
    assert wanted.find() is None
    convert(wanted, 0.5, "louder")
    found = wanted.find()
    assert found is not None and (found.seconds, found.report) == (0.5, "louder")
    assert [path.name for path in cache.iterdir()] == [wanted.folder.name], "the folder of the conversion is gone"


def test_the_name_depends_on_path_content_and_settings(cache: Path, track: Path) -> None:
    names = {entry(cache, track).folder.name, entry(cache, track, "loudness off").folder.name}
    other = track.with_name("other.mp3")
    other.write_text("first")
    names.add(entry(cache, other).folder.name)
    track.write_text("second and longer")
    names.add(entry(cache, track).folder.name)
    assert len(names) == 4


def test_inode_time_and_mode_do_not_change_the_name(cache: Path, track: Path) -> None:
    """A new container changes the inode, ``touch`` the mtime, ``chmod`` the ctime."""
    name = entry(cache, track).folder.name
    os.utime(track, ns=(1, 1))
    track.chmod(0o600)
    assert entry(cache, track).folder.name == name
    other = track.with_name("copy")
    other.write_text("first")
    other.rename(track)
    assert entry(cache, track).folder.name == name


def test_other_content_of_equal_size_time_and_inode_has_another_name(cache: Path, track: Path) -> None:
    name, facts = entry(cache, track).folder.name, track.stat()
    with track.open("r+") as file:
        file.write("other")
    os.utime(track, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    now = track.stat()
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    assert entry(cache, track).folder.name != name


def test_each_part_of_a_file_counts_for_its_digest_and_its_reading_can_be_cancelled(track: Path) -> None:
    octets = bytearray(3 * PART + 1)
    digests = set()
    parts: list[int] = []
    for place in (0, PART, 3 * PART):
        octets[place] += 1
        track.write_bytes(octets)
        digests.add(digest_of(track, lambda: parts.append(1)))
    assert (len(digests), len(parts)) == (3, 12)
    with pytest.raises(ZeroDivisionError):
        digest_of(track, lambda: 1 // 0)  # type: ignore[arg-type]


def test_a_conversion_that_fails_leaves_nothing(cache: Path, track: Path) -> None:
    with pytest.raises(RuntimeError), entry(cache, track).unfinished() as made:
        write_sound(made.paths[8000], 8000, 0.5)
        raise RuntimeError
    assert list(cache.iterdir()) == []


def test_two_servers_that_convert_the_same_track_both_use_the_files_of_the_first(cache: Path, track: Path) -> None:
    wanted = entry(cache, track)
    with wanted.unfinished() as made:
        for rate, path in made.paths.items():
            write_sound(path, rate, 0.5)
        convert(wanted, 0.5, "the first")
        assert wanted.keep(made, "the second").report == "the first"


def test_a_spoilt_entry_is_replaced(cache: Path, track: Path) -> None:
    wanted = entry(cache, track)
    convert(wanted)
    wanted.paths[16000].write_bytes(b"RIFF")
    assert wanted.find() is None
    convert(wanted, 0.5, "made anew")
    found = wanted.find()
    assert found is not None and found.report == "made anew"
    assert len(list(cache.iterdir())) == 1


def test_a_wav_file_that_is_cut_short_has_no_length(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    write_sound(path, 8000, 0.5)
    assert length_of(path) == 0.5
    path.write_bytes(path.read_bytes()[:-100])
    assert length_of(path) == 0.0
    assert length_of(tmp_path / "missing.wav") == 0.0


# -- entries that another user could have written ------------------------------------------------------------------

PLACES = ["", "report.txt", "8000.wav", "16000.wav"]
"""The parts of an entry: its folder and its files."""


def is_made_anew(wanted: Entry) -> bool:
    """Return whether ``find`` refuses the entry, and a conversion replaces it."""
    if wanted.find() is not None:
        return False
    convert(wanted, 0.5, "made anew")
    found = wanted.find()
    assert found is not None and found.report == "made anew"
    assert [path.name for path in wanted.folder.parent.iterdir()] == [wanted.folder.name], "nothing is left"
    return True


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("place", PLACES)
def test_an_entry_that_others_may_write_to_is_made_anew(cache: Path, track: Path, place: str, mode: int) -> None:
    wanted = entry(cache, track)
    convert(wanted)
    path = wanted.folder / place
    path.chmod(path.stat().st_mode | mode)
    assert is_made_anew(wanted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")
@pytest.mark.parametrize("place", PLACES)
def test_an_entry_of_another_user_is_made_anew(cache: Path, track: Path, place: str) -> None:
    wanted = entry(cache, track)
    convert(wanted)
    os.chown(wanted.folder / place, 12_345, -1)
    assert is_made_anew(wanted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that belong to root")
def test_an_entry_of_root_is_found_by_any_user(cache: Path, track: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the image belong to root."""
    wanted = entry(cache, track)
    convert(wanted)
    monkeypatch.setattr("os.geteuid", lambda: 5060)
    assert wanted.find() is not None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
def test_an_entry_with_a_link_a_pipe_or_a_device_is_made_anew_and_none_is_opened(
    cache: Path, track: Path, place: str, kind: str
) -> None:
    wanted = entry(cache, track)
    convert(wanted)
    path = wanted.folder / place
    moved = cache.with_name("moved")
    path.rename(moved)
    if kind == "link":
        path.symlink_to(moved)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert is_made_anew(wanted)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_an_entry_is_trusted_by_the_server_that_made_it_whatever_the_umask(
    cache: Path, track: Path, umask: int
) -> None:
    former = os.umask(umask)
    try:
        wanted = entry(cache, track)
        convert(wanted)
    finally:
        os.umask(former)
    assert wanted.find() is not None
    for path in (wanted.folder, *wanted.folder.iterdir()):
        assert not path.stat().st_mode & 0o022, path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("louder", "louder"),
        ("\x1b[2Jred", "'\\x1b[2Jred'"),
        ("two\nlines", "'two\\nlines'"),
        ("a\u202eb", "'a\\u202eb'"),
    ],
)
def test_a_report_is_one_line_that_can_be_printed(cache: Path, track: Path, text: str, shown: str) -> None:
    wanted = entry(cache, track)
    convert(wanted, 0.5, text)
    found = wanted.find()
    assert found is not None and found.report == shown


def test_a_report_that_is_too_long_spoils_the_entry(cache: Path, track: Path) -> None:
    wanted = entry(cache, track)
    convert(wanted, 0.5, "x" * MOST_REPORT)
    assert wanted.find() is not None
    (wanted.folder / "report.txt").write_text("x" * (MOST_REPORT + 1))
    assert is_made_anew(wanted)


# -- entries that are removed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [Entry.clean, Entry.clean_former])
def test_the_entry_of_an_older_content_is_removed_unless_a_server_plays_it(
    cache: Path, track: Path, clean: Callable[[Entry], None]
) -> None:
    other = track.with_name("other.mp3")
    other.write_text("other")
    convert(entry(cache, other))
    first = entry(cache, track)
    playing = convert(first)
    track.write_text("the second")
    second = entry(cache, track)
    clean(second)
    assert first.folder.exists(), "another server plays it"
    convert(second)
    del playing
    clean(second)
    assert not first.folder.exists()
    assert second.folder.exists() and entry(cache, other).folder.exists()


def test_an_entry_of_other_settings_or_another_file_stays(cache: Path, track: Path) -> None:
    other = track.with_name("other.mp3")
    other.write_text("other")
    for kept in (entry(cache, track, "loudness off"), entry(cache, other)):
        convert(kept)
    entry(cache, track).clean()
    assert len(list(cache.iterdir())) == 2


def test_an_entry_that_was_unused_for_long_is_removed_and_a_found_one_counts_as_used(cache: Path, track: Path) -> None:
    other = track.with_name("other.mp3")
    other.write_text("other")
    unused, used = entry(cache, other), entry(cache, track, "loudness off")
    for each in (unused, used):
        convert(each)
        make_old(each.folder, UNUSED_FOR + 60)
    assert used.find() is not None
    entry(cache, track).clean()
    assert (unused.folder.exists(), used.folder.exists()) == (False, True)


def test_the_files_of_a_killed_conversion_are_removed_and_those_of_a_running_one_stay(cache: Path, track: Path) -> None:
    wanted = entry(cache, track)
    left, fresh = cache / "unfinished-left", cache / "unfinished-fresh"
    for folder in (left, fresh):
        folder.mkdir()
        (folder / "mono.s16").touch()
    make_old(left, UNLOCKED_FOR + 1)
    with wanted.unfinished() as running:
        make_old(running.folder.parent, UNLOCKED_FOR + 1)
        wanted.clean()
        assert running.folder.exists(), "it is locked"
    assert not left.exists()
    assert fresh.exists(), "another server may be about to lock it"


def test_a_pipe_or_link_with_the_name_of_an_entry_is_not_opened(cache: Path, track: Path) -> None:
    os.mkfifo(cache / "0123456789ab-0123456789ab-0123456789ab")
    (cache.with_name("elsewhere")).mkdir()
    (cache / "unfinished-link").symlink_to(cache.with_name("elsewhere"))
    for path in cache.iterdir():
        os.utime(path, (1, 1), follow_symlinks=False)
    entry(cache, track).clean()
    assert cache.with_name("elsewhere").exists()


def test_what_is_no_entry_stays(cache: Path, track: Path) -> None:
    (cache / "notes.txt").touch()
    (cache / "folder").mkdir()
    for path in cache.iterdir():
        make_old(path, 10 * UNUSED_FOR)
    entry(cache, track).clean()
    assert len(list(cache.iterdir())) == 2


# -- the lock ------------------------------------------------------------------------------------------------------


def test_any_number_of_servers_may_lock_an_entry_and_none_removes_it_meanwhile(tmp_path: Path) -> None:
    first, second = Lock(tmp_path), Lock(tmp_path)
    with pytest.raises(BlockingIOError):
        Lock(tmp_path, exclusive=True)
    del first, second
    removing = Lock(tmp_path, exclusive=True)
    with pytest.raises(BlockingIOError):
        Lock(tmp_path)
    del removing
    Lock(tmp_path)


def test_without_locks_an_entry_is_found_and_none_is_removed(
    cache: Path, track: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    wanted = entry(cache, track)
    convert(wanted)
    make_old(wanted.folder, 2 * UNUSED_FOR)
    monkeypatch.setattr("moh.mastering.cache.fcntl.flock", fails)
    entry(cache, track, "loudness off").clean()
    assert wanted.find() is not None
