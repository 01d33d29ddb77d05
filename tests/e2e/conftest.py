"""Fixtures that several end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.phone import Ear


@pytest.fixture
def held() -> Iterator[Ear]:
    """The held party at 127.0.0.2, which receives the music; the phone that calls is at 127.0.0.1."""
    with Ear("127.0.0.2") as ear:
        yield ear
