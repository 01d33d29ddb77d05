"""The environment of the processes that prepare music."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.server.music import environment_of_children


def test_relative_paths_begin_at_the_servers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"MOH_MUSIC": " songs", "MOH_CACHE": "./a/../cache", "XDG_CACHE_HOME": "~/x", "MOH_LOG": "info"}
    assert environment_of_children(given) == {
        "MOH_MUSIC": f"{tmp_path}/songs", "MOH_CACHE": f"{tmp_path}/a/../cache", "XDG_CACHE_HOME": "~/x",
        "MOH_LOG": "info",
    }  # fmt: skip
    assert environment_of_children({"MOH_MUSIC": "", "MOH_CACHE": "/cache"}) == {"MOH_MUSIC": "", "MOH_CACHE": "/cache"}
