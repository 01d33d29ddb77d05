"""End to end: ports that take music and never read it."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator

import pytest

from bench.common.sink import Sink


@pytest.fixture
def few_descriptors() -> Iterator[tuple[int, int]]:
    """The limit of an ordinary user, as far as it matters here."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = (256, before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, few)
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_programs_start_while_more_ports_are_open_than_the_limit_allows(few_descriptors: tuple[int, int]) -> None:
    with Sink("127.0.0.9", 200) as sink:
        assert len(sink.ports) == 200
        assert subprocess.run(["echo", "hello"], capture_output=True, check=True).stdout == b"hello\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == few_descriptors
