"""The page is a process of its own: the server binds its socket, starts it again, and does not outlive it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from moh.common.actions import Address
from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.net.threads import Thread
from moh.server import child, page_process
from moh.server.page_process import PageProcess, place_of
from tests.support.running import free_ports, is_running, wait_for

Start = Callable[[str], PageProcess]


def settings(port: int) -> Settings:
    return Settings.from_environment({"MOH_HTTP": f"127.0.0.1:{port}"})


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a page that runs a Python program instead; the last argument is the number of the socket."""
    monkeypatch.setattr(child, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(child, "LONGEST_PAUSE", 0.2)
    started: list[PageProcess] = []

    def run(program: str) -> PageProcess:
        page = PageProcess(settings(free_ports(1)), [sys.executable, "-c", program])
        started.append(page)
        page.service(100.0)
        return page

    yield run
    for page in started:
        page.close()


def process_of(page: PageProcess) -> int:
    """Return the number of the process that runs now."""
    assert page._child is not None
    found = page._child
    return wait_for(lambda: found.pid, "the process") or 0


WAITS = "import sys, os; print('INFO began', flush=True); sys.stdin.read(); os._exit(0)"


# -- the socket ----------------------------------------------------------------------------------------------------


def test_without_a_setting_there_is_no_page() -> None:
    page = PageProcess(Settings())
    page.service(100.0)
    assert page._child is None and page._listener is None
    page.close()


def test_a_port_that_another_program_has_stops_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError) as error:
            PageProcess(settings(port))
    why = "another program uses this port; expected a port that is free, or an empty MOH_HTTP for no page"
    assert str(error.value) == f"Cannot listen on MOH_HTTP 127.0.0.1:{port}: {why}"


def test_an_address_of_another_machine_stops_the_start() -> None:
    with pytest.raises(SettingsError) as error:
        PageProcess(Settings.from_environment({"MOH_HTTP": "192.0.2.1:8080"}))
    why = "this machine has no such address; expected 127.0.0.1, or another one of its own"
    assert str(error.value) == f"Cannot listen on MOH_HTTP 192.0.2.1:8080: {why}"


def test_all_addresses_of_ipv6_are_those_of_ipv4_as_well() -> None:
    port = free_ports(1)
    try:
        page = PageProcess(Settings.from_environment({"MOH_HTTP": f"[::]:{port}"}))
    except SettingsError:
        pytest.skip("needs IPv6")
    socket.create_connection(("127.0.0.1", port), 10).close()
    page.close()


@pytest.mark.parametrize(
    ("text", "bridged", "expected"),
    [
        ("8080", False, Address("127.0.0.1", 8080)),
        ("8080", True, Address("0.0.0.0", 8080)),
        ("127.0.0.1:8080", True, Address("127.0.0.1", 8080)),
        ("0.0.0.0:8080", False, Address("0.0.0.0", 8080)),
    ],
)
def test_a_port_alone_is_for_this_machine_alone(
    text: str, bridged: bool, expected: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker brings what is sent to a published port to the container's address, and not to its loopback."""
    monkeypatch.setattr(page_process, "is_behind_a_bridge", lambda host: bridged)
    chosen = Settings.from_environment({"MOH_HTTP": text})
    assert chosen.http is not None
    assert place_of(chosen.http, chosen.http_port_only) == expected


# -- the process ---------------------------------------------------------------------------------------------------


def test_what_the_page_prints_is_in_the_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    start(
        "import sys; print('INFO page: http://127.0.0.1:8080/\\nERROR one\\rtwo\\nno level', flush=True); "
        "sys.stdin.read()"
    )
    wait_for(lambda: len(caplog.records) >= 3, "three lines")
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("INFO", "page: http://127.0.0.1:8080/"), ("ERROR", "page: one\ntwo"), ("WARNING", "page: no level"),
    ]  # fmt: skip


def test_the_log_gets_a_bounded_number_of_lines(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LINES_IN", 3600.0)
    start("print('WARNING x\\n' * 1000, flush=True); import sys; sys.stdin.read()")
    wait_for(lambda: len(caplog.records) >= 100, "the lines")
    time.sleep(0.1)
    assert len(caplog.records) == 100


def test_the_page_has_the_socket_and_no_other_descriptor_of_the_server(start: Start) -> None:
    page = start(
        "import os, socket, sys; s = socket.socket(fileno=int(sys.argv[1])); c, _ = s.accept(); "
        "c.sendall(repr(sorted(os.listdir('/proc/self/fd'))).encode()); c.close(); sys.stdin.read()"
    )
    assert page._listener is not None
    with socket.create_connection(page._listener.getsockname(), 10) as sock:
        sock.settimeout(10)
        found = eval(sock.recv(1000))
    own = {"0", "1", "2", str(page._listener.fileno())}
    assert own <= set(found) and len(found) <= len(own) + 2, "the connection, and the folder that is listed"


def test_a_page_that_ends_is_started_again_with_growing_pauses(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    start("print('Traceback'); print('ValueError: x'); raise SystemExit(3)")
    wait_for(lambda: len([1 for each in caplog.records if each.levelno == logging.ERROR]) >= 4, "four ends")
    lines = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert lines[:4] == [
        f"the page has ended: exit status 3, ValueError: x. Calls go on; the page starts again in {pause:g} s"
        for pause in (0.05, 0.1, 0.2, 0.2)
    ]


def test_a_page_that_is_killed_is_started_again(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    page = start(WAITS)
    first = process_of(page)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: process_of(page) != first, "another process")
    assert "the page has ended: signal 9. Calls go on" in caplog.text


def test_a_page_that_cannot_be_started_is_tried_again(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    page = PageProcess(settings(free_ports(1)), [str(tmp_path / "missing")])
    page.service(100.0)
    wait_for(lambda: "the page has ended: it cannot be started: No such file or directory" in caplog.text, "the line")
    page.close()


@pytest.mark.parametrize("program", [WAITS, "import time; time.sleep(60)"])
def test_the_page_ends_with_the_server(start: Start, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "END_TIMEOUT", 0.5)
    page = start(program)
    number = process_of(page)
    page.close()
    wait_for(lambda: not is_running(number), "the end of the page")
    assert page._listener is not None and page._listener.fileno() == -1


def test_an_orderly_end_is_no_line_of_the_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    page = start(WAITS)
    process_of(page)
    page.close()
    assert "has ended" not in caplog.text


def test_a_page_is_started_once_and_when_the_server_is_ready() -> None:
    page = PageProcess(settings(free_ports(1)), [sys.executable, "-c", WAITS])
    page.is_ready = lambda: False
    page.service(100.0)
    assert page._child is not None and not page._child.started
    page.is_ready = lambda: True
    page.service(100.1)
    number = process_of(page)
    page.service(200.0)
    assert process_of(page) == number
    page.close()
    page.service(300.0)


def test_a_thread_that_the_system_cannot_start_is_tried_again_a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: object) -> None:
        raise RuntimeError("can't start new thread")

    page = PageProcess(settings(free_ports(1)), [sys.executable, "-c", WAITS])
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", fails)
        with pytest.raises(RuntimeError):
            page.service(100.0)
        page.service(100.1)
    page.service(100.1)
    assert page._child is not None and not page._child.started
    page.service(100.0 + child.LONGEST_PAUSE)
    assert process_of(page)
    page.close()
