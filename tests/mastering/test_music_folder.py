"""Whether there is a music folder: the one of the setting, or the one of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.common.config import Settings
from moh.mastering import music_folder as module
from moh.mastering import prepare
from moh.mastering.music_folder import music_folder
from moh.mastering.prepare import BUILTIN, find_source


@pytest.fixture(autouse=True)
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container without any music yet; its root is this folder."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(module, "FOLDERS", (root / "music", root / "music.mp3"))
    monkeypatch.setattr(prepare, "DEFAULT_SOURCES", (root / "music.mp3", root / "here" / "music.mp3"))
    return root


def test_a_folder_that_the_setting_names(tmp_path: Path, container: Path) -> None:
    (container / "music").mkdir()
    (container / "music.mp3").touch()
    (tmp_path / "song.mp3").touch()
    settings = Settings(music=str(tmp_path))
    assert music_folder(settings) == tmp_path
    assert find_source(settings) == BUILTIN, "a file that no setting names is another server's default"
    file = tmp_path / "song.mp3"
    assert music_folder(Settings(music=str(file))) is None and find_source(Settings(music=str(file))) == file
    assert music_folder(Settings(music=str(tmp_path / "missing"))) is None
    assert music_folder(Settings(music="a\0b")) is None
    assert music_folder(Settings(music="~no-such-user/x")) is None


def test_the_folder_of_a_container_and_a_bound_file_in_front_of_it(container: Path) -> None:
    assert music_folder(Settings()) is None
    (container / "music").touch()
    assert music_folder(Settings()) is None, "Compose binds a file there"
    (container / "music").unlink()
    (container / "music").mkdir()
    (container / "here").mkdir()
    (container / "here" / "music.mp3").touch()
    assert music_folder(Settings()) == container / "music"
    assert find_source(Settings()) == BUILTIN
    (container / "music.mp3").touch()
    assert find_source(Settings()) == container / "music.mp3"


def test_a_folder_in_the_place_of_the_file(container: Path) -> None:
    (container / "music.mp3").mkdir()
    assert music_folder(Settings()) == container / "music.mp3"
    assert music_folder(Settings(music=str(container / "music.mp3"))) == container / "music.mp3", "as Compose binds it"
    assert find_source(Settings()) == BUILTIN
