"""The environment of the processes that prepare music, and a failure of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moh.common.config import Settings
from moh.common.faults import FaultLog
from moh.server.music import MusicSources, environment_of_children
from tests.support.library import FolderWorld


def test_relative_paths_begin_at_the_servers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"MOH_MUSIC": " songs", "MOH_CACHE": "./a/../cache", "XDG_CACHE_HOME": "~/x", "MOH_LOG": "info"}
    assert environment_of_children(given) == {
        "MOH_MUSIC": f"{tmp_path}/songs", "MOH_CACHE": f"{tmp_path}/a/../cache", "XDG_CACHE_HOME": "~/x",
        "MOH_LOG": "info",
    }  # fmt: skip
    assert environment_of_children({"MOH_MUSIC": "", "MOH_CACHE": "/cache"}) == {"MOH_MUSIC": "", "MOH_CACHE": "/cache"}


class NoReloader:
    """In place of ``Reloader``: it prepares nothing."""

    faults = FaultLog("a test")

    def __init__(self, settings: Settings, prepare: object) -> None:
        self.checks = 0

    def drain(self) -> list[object]:
        return []

    def check_now(self) -> None:
        self.checks += 1

    def close(self) -> None:
        pass


@pytest.fixture
def music(folder_world: FolderWorld, monkeypatch: pytest.MonkeyPatch) -> MusicSources:
    """The music of a server with a folder, whose library is a stand-in."""
    monkeypatch.setattr("moh.server.music.Reloader", NoReloader)
    world: Any = folder_world
    settings = Settings(music=str(world.cache))
    return MusicSources(settings, world.agent, world.lock, world.drive, world.engines)


def test_a_failure_of_the_library_is_reported_and_the_serve_loop_goes_on(
    music: MusicSources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(now: float) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(music.library, "service", fails)
    music.service(1.0)
    assert music.library is not None and music.library.faults.count == 1
    assert "can't start new thread" in caplog.text
    music.close()


def test_sighup_reads_the_folder_and_not_the_built_in_piece(music: MusicSources) -> None:
    assert music.library is not None
    child: Any = music.library._child
    music.check_now()
    assert child.take_sent() == [{"do": "check"}] and music._reloader.checks == 0  # type: ignore[attr-defined]
    music.now_playing.takes_default = False
    music.check_now()
    assert music._reloader.checks == 1, "a file is bound in front of it"  # type: ignore[attr-defined]


def test_without_a_folder_there_is_no_library(monkeypatch: pytest.MonkeyPatch, folder_world: FolderWorld) -> None:
    monkeypatch.setattr("moh.server.music.Reloader", NoReloader)
    world: Any = folder_world
    music = MusicSources(Settings(music="/srv/hold.mp3"), world.agent, world.lock, world.drive, world.engines)
    assert music.library is None and len(music.faults) == 1
    music.service(1.0)
    music.check_now()
    music.close()


def test_no_progress_of_the_stand_in_is_logged(music: MusicSources, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(settings: Settings, progress: Any) -> None:
        progress(0.5)

    shares: list[float] = []
    monkeypatch.setattr("moh.server.music.prepare", prepare)
    music._prepare(Settings(), shares.append)
    music.now_playing.takes_default = False
    music._prepare(Settings(), shares.append)
    assert shares == [0.0, 0.5]
