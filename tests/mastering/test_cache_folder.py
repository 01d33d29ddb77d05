"""Where the cache is: by setting, in the user's home, or in a private folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moh.common.errors import SettingsError
from moh.mastering.cache_folder import absolute, cache_folder
from tests.mastering.tracks import settings


def refusal(cache: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        cache_folder(settings(cache=cache))
    return str(caught.value)


def test_a_missing_cache_folder_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b c:%d"
    assert cache_folder(settings(cache=folder)) == folder
    assert folder.is_dir()


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file"
    assert refusal(cache) == f"MOH_CACHE is {str(cache)!r}: File exists; expected a folder"


def test_a_cache_that_is_read_only_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # this test may run as root, which may write everywhere
    assert "not writable; expected a folder to write to" in refusal(tmp_path)


def test_the_cache_is_where_users_have_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(settings()) == tmp_path / "moh"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder(settings()) == tmp_path / "home" / ".cache" / "moh"


def test_without_a_usable_home_the_cache_is_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder(settings())
    assert folder.is_dir()
    assert folder.name == f"moh-{os.getuid()}"
    assert cache_folder(settings()) == folder
    folder.chmod(0o777)
    assert cache_folder(settings()) != folder, "other users could put their music there"


def test_a_home_that_cannot_be_written_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.access", lambda *_: False)
    assert cache_folder(settings()).name == f"moh-{os.getuid()}"


def test_a_name_that_means_no_path_is_refused() -> None:
    for name, why in (("~nobody-of-that-name/x", "no such home folder"), ("\udcff", "a name in UTF-8")):
        with pytest.raises(SettingsError, match=why):
            absolute("MOH_CACHE", name)
