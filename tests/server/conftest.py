"""Fixtures for the tests of music by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.server import library, radios
from tests.support.library import FakeChild, FolderWorld


@pytest.fixture
def folder_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderWorld:
    """A server with a music folder. The built-in piece plays; the children are the test."""
    monkeypatch.setattr(library, "Child", FakeChild)
    monkeypatch.setattr(radios, "Child", FakeChild)
    return FolderWorld(tmp_path)
