"""Fixtures for all tests: ``server`` is a server started here, or the live one that MOH_SERVER=host:port names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from moh.server.compiled import core_fault, use_compiled_core
from tests.support.running import Address, Running

use_compiled_core()  # before a test imports a module of the core
if core_fault():
    pytest.exit(core_fault(), returncode=1)

StartServer = Callable[..., Running]


@pytest.fixture(scope="session")
def music_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the converted music of all servers, so that the music is converted only once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Running]:
    """A server that many tests call; each ends its calls. At the end SIGTERM must stop it in order."""
    with Running(tmp_path_factory.mktemp("server"), music_cache) as running:
        yield running.ready()
        ffmpegs = running.ffmpegs
        running.terminate()
        assert running.exit_status() == 0, running.log
        assert not ffmpegs, f"a call was left behind:\n{running.log}"
        assert "Traceback" not in running.log, running.log


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Address:
    """The address of the server to check."""
    live = os.environ.get("MOH_SERVER")
    if live:
        host, _, port = live.rpartition(":")
        return host.strip("[]"), int(port)
    own: Running = request.getfixturevalue("own_server")
    return own.address


@pytest.fixture
def start_server(tmp_path: Path, music_cache: Path) -> Iterator[StartServer]:
    """Starts servers with the settings of a test, and kills those that still run at its end."""
    with ExitStack() as stack:

        def start(*, before: Sequence[str] = (), **settings: str) -> Running:
            return stack.enter_context(Running(tmp_path, music_cache, before=before, **settings))

        yield start
