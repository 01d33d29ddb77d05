"""The folder of the cache: by setting, in the user's home, or a private temporary folder."""

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
    monkeypatch.setattr("os.access", lambda *_: False)  # the test may run as root, which may write everywhere
    assert "not writable; expected a folder to write to" in refusal(tmp_path)


# -- folders that another user could write to ----------------------------------------------------------------------

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
ANOTHER = 12_345
"""The number of another user."""


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757, 0o2775, 0o722])
def test_a_cache_that_other_users_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    said = refusal(cache)
    assert said.startswith(
        f"MOH_CACHE is {str(cache)!r}: other users may write to it (mode {mode:o}); expected a folder"
    )
    assert said.endswith(f"that no other user may write to, as {str(cache / 'moh')!r} would be")
    assert cache_folder(settings(cache=cache / "moh")) == cache / "moh", "as the line says"


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o700, 0o2755])
def test_a_cache_that_only_its_user_may_write_to_is_taken(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    assert cache_folder(settings(cache=tmp_path)) == tmp_path


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_a_cache_that_the_server_makes_is_its_own_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        folder = cache_folder(settings(cache=tmp_path / "cache"))
    finally:
        os.umask(former)
    assert folder.stat().st_mode & 0o777 == 0o755 & ~umask


@needs_root
def test_a_cache_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, ANOTHER, -1)
    assert refusal(tmp_path).startswith(
        f"MOH_CACHE is {str(tmp_path)!r}: a folder of user {ANOTHER}; expected a folder"
    )


@needs_root
def test_a_link_to_the_cache_may_only_be_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert cache_folder(settings(cache=tmp_path / "link")) == tmp_path / "link"
    os.chown(tmp_path / "link", ANOTHER, -1, follow_symlinks=False)
    assert f"a link of user {ANOTHER}; expected" in refusal(tmp_path / "link")


@needs_root
def test_the_home_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sudo may keep HOME, so that the server runs as root with the home of another user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "moh").mkdir()
    os.chown(tmp_path / "moh", ANOTHER, -1)
    assert cache_folder(settings()).name == f"moh-{os.getuid()}"


def test_a_folder_of_a_former_version_that_the_group_may_write_to_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "moh").mkdir()
    (tmp_path / "moh").chmod(0o775)
    assert cache_folder(settings()) == tmp_path / "moh"
    assert (tmp_path / "moh").stat().st_mode & 0o777 == 0o755


# -- without the setting -------------------------------------------------------------------------------------------


def test_the_cache_is_in_the_cache_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
