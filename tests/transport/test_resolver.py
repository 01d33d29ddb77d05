"""End to end with the system's resolver: a look-up for one kind of source delays no look-up for another kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from moh.common.actions import Resolve, Trust
from moh.transport import resolver
from moh.transport.resolver import Resolver, look_up
from tests.support.running import wait_for


def asks(name: str, trust: Trust = Trust.VALIDATED) -> Resolve:
    return Resolve(name, "192.0.2.1", trust)


def answers(asked: Resolver, count: int) -> list[tuple[Resolve, str]]:
    """Wait for ``count`` answers, for at most 10 s."""
    got: list[tuple[Resolve, str]] = []
    give_up = time.monotonic() + 10
    while len(got) < count and time.monotonic() < give_up:
        got += asked.drain()
        time.sleep(0.01)
    return got


class Silent:
    """A stand-in for the system's resolver. Names that begin with "silent" have no answer until ``end`` is set."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.asked: list[str] = []
        self.resolver = Resolver(lambda asked: self.end.is_set() or asked.name.startswith("given-up"))

    def look_up(self, name: str, version: int = 0) -> str:
        self.asked.append(name)
        if name.startswith("silent"):
            self.end.wait(20)
            return ""
        return "192.0.2.99"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    system = Silent()
    monkeypatch.setattr(resolver, "look_up", system.look_up)
    yield system
    system.end.set()


@pytest.mark.parametrize(
    ("name", "version", "address"),
    [("127.0.0.1", 4, "127.0.0.1"), ("127.0.0.1", 6, ""), ("::1", 6, "::1"), ("::1", 0, "::1")],
)
def test_an_address_of_the_other_ip_version_is_none(name: str, version: int, address: str) -> None:
    assert look_up(name, version) == address


def test_a_name_is_looked_up_in_the_background() -> None:
    asked = Resolver()
    asked.request(asks("localhost"))
    assert answers(asked, 1) == [(asks("localhost"), "127.0.0.1")]


@pytest.mark.parametrize(("there", "found"), [(0, ""), (1, "127.0.0.1")])
def test_without_threads_a_name_has_no_address_and_the_next_one_tries_again(
    monkeypatch: pytest.MonkeyPatch, there: int, found: str
) -> None:
    started: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if len(started) == there:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        begin(thread)

    begin = threading.Thread.start
    asked = Resolver()
    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", start)
        asked.request(asks("localhost"))
    assert answers(asked, 1) == [(asks("localhost"), found)]
    asked.request(asks("localhost"))
    assert answers(asked, 1) == [(asks("localhost"), "127.0.0.1")]


def test_text_that_is_no_host_name_has_no_address() -> None:
    assert look_up("a" * 70 + ".invalid") == ""
    assert look_up("\udcff") == ""
    assert look_up("") in ("", "127.0.0.1", "::1")


@pytest.mark.parametrize("trust", Trust)
def test_names_beyond_the_queue_have_no_address_at_once(silent: Silent, trust: Trust) -> None:
    for number in range(resolver.THREADS):
        silent.resolver.request(asks(f"silent{number}.example", trust))
    wait_for(lambda: len(silent.asked) == resolver.THREADS, "all threads to be held")
    for number in range(resolver.MAX_QUEUE + 3):
        silent.resolver.request(asks(f"more{number}.example", trust))
    assert [address for _, address in silent.resolver.drain()] == [""] * 3


@pytest.mark.parametrize("trust", Trust)
def test_silent_dns_servers_for_the_other_sources_delay_no_name(silent: Silent, trust: Trust) -> None:
    for other in set(Trust) - {trust}:
        for number in range(resolver.THREADS + 10):
            silent.resolver.request(asks(f"silent{number}.example", other))
    silent.resolver.request(asks("pbx.example", trust))
    assert answers(silent.resolver, 1) == [(asks("pbx.example", trust), "192.0.2.99")]


def test_an_unwanted_name_is_not_looked_up(silent: Silent) -> None:
    for number in range(20):
        silent.resolver.request(asks(f"given-up{number}.example"))
    silent.resolver.request(asks("last.example"))
    assert answers(silent.resolver, 1) == [(asks("last.example"), "192.0.2.99")]
    assert silent.asked == ["last.example"]


def test_a_bug_in_a_look_up_is_logged_and_its_thread_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def buggy(name: str) -> str:
        raise AttributeError("a plain bug")

    monkeypatch.setattr(resolver, "look_up", buggy)
    asked = Resolver()
    for number in range(1, resolver.THREADS + 2):
        asked.request(asks("localhost"))
        assert answers(asked, 1) == [(asks("localhost"), "")]
        assert asked.faults.count == number
    assert caplog.text.count("Traceback") == 1
    assert "unexpected error in the resolver: looking up 'localhost'" in caplog.text
