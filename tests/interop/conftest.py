"""The held parties of the scenarios. Each has an address that may receive music, and none has the phone's address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.phone import Ear


@pytest.fixture
def ann() -> Iterator[Ear]:
    with Ear("127.0.0.2") as ear:
        yield ear


@pytest.fixture
def bob() -> Iterator[Ear]:
    with Ear("127.0.0.3") as ear:
        yield ear


@pytest.fixture
def carol() -> Iterator[Ear]:
    with Ear("127.0.0.4") as ear:
        yield ear
