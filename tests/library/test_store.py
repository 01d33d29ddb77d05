"""The room in the cache, with small entries in a folder. Nothing is converted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moh.library.store import LAST_FREE, Store
from moh.mastering.cache import Lock

MB = 1 << 20


def name(number: int) -> str:
    return f"{number:012}-{number:012}-{number:012}"


def entry(cache: Path, number: int, octets: int = MB, used_at: float = 0.0) -> Path:
    folder = cache / name(number)
    folder.mkdir()
    with (folder / "8000.wav").open("wb") as file:
        file.truncate(octets)
    os.utime(folder, (used_at, used_at))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of 10 MB with three entries of 1 MB, and a conversion that runs."""
    for number in (1, 2, 3):
        entry(tmp_path, number, used_at=100.0 - number)
    (tmp_path / "unfinished-x").mkdir()
    store = Store(tmp_path, 10 * MB)
    store.measure()
    return store


def test_entries_are_measured(store: Store, tmp_path: Path) -> None:
    assert (store.used, store.entries) == (3 * MB, 3)
    assert store.size_of(name(1)) == MB and store.size_of("other") == 0
    entry(tmp_path, 4)
    store.measure()
    assert store.used == 4 * MB


def test_what_fits_and_what_does_not(store: Store) -> None:
    assert store.missing(7 * MB) == (0, "")
    assert store.missing(8 * MB) == (
        MB,
        "the cache is full: 8 MB more do not fit in (3 of 10 MB are used, MOH_CACHE_LIMIT)",
    )


def test_the_last_octets_of_the_disk_stay_free(store: Store) -> None:
    store.free = LAST_FREE + MB
    assert store.missing(MB) == (0, "")
    missing, why = store.missing(3 * MB)
    assert missing == 2 * MB and why == "the disk of the cache is full (106 MB are free, and 100 MB stay free)"


def test_what_was_used_longest_ago_leaves_first(store: Store, tmp_path: Path) -> None:
    assert store.free_up(MB, set(), 10.0) == MB
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [name(1), name(2), "unfinished-x"]
    assert store.free_up(5 * MB, {name(2)}, 10.0) == MB
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [name(2), "unfinished-x"]


def test_what_a_server_plays_stays_and_is_tried_again_later(store: Store, tmp_path: Path) -> None:
    lock = Lock(tmp_path / name(3))
    assert store.free_up(MB, {name(1), name(2)}, 10.0) == 0
    del lock
    assert store.free_up(MB, {name(1), name(2)}, 19.0) == 0
    assert store.free_up(MB, {name(1), name(2)}, 20.0) == MB


def test_a_cache_that_is_gone_is_no_error(store: Store, tmp_path: Path) -> None:
    gone = Store(tmp_path / "gone", MB)
    gone.measure()
    assert gone.used == 0 and gone.free_up(MB, set(), 10.0) == 0 and not gone.is_nearly_full()


def test_a_disk_with_little_room_is_nearly_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moh.library.store.LAST_FREE", 1 << 60)
    assert store.is_nearly_full()
