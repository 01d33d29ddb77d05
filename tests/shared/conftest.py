"""Fixtures of the tests of the shared stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.shared.shared_stream import SharedStream
from tests.support.phone import Ear
from tests.support.shared import music_files, playing


@pytest.fixture
def music(tmp_path: Path) -> dict[int, Path]:
    return music_files(tmp_path)


@pytest.fixture
def stream(music: dict[int, Path]) -> Iterator[SharedStream]:
    with playing(music) as shared_stream:
        yield shared_stream


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as open_ear:
        yield open_ear
