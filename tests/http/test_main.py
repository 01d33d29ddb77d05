"""End to end: the process of the page, started by hand as the server starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import get
from tests.support.running import ROOT, free_ports, is_running, wait_for


class Started:
    """A page without a server, at ``port``."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        others = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moh.http", str(listener.fileno())], cwd=ROOT, pass_fds=[listener.fileno()],
            env={**others, "MOH_SIP_PORT": str(free_ports(1)), "MOH_BIND": "127.0.0.1", "MOH_HTTP": str(self.port)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        listener.close()
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().decode()


@pytest.fixture
def started() -> Iterator[Started]:
    page = Started()
    yield page
    page.process.kill()
    page.process.wait()
    for pipe in (page.process.stdin, page.process.stdout):
        assert pipe is not None
        pipe.close()


def test_the_page_says_where_it_is_and_that_no_server_answers(started: Started) -> None:
    assert started.line == f"INFO page: http://127.0.0.1:{started.port}/\n"
    answer = get(started.port, "/state.json")
    assert (answer.status, answer.json["error"]) == (503, "the server does not answer")
    assert answer.json["why"].startswith("no server runs here with MOH_BIND 127.0.0.1 and MOH_SIP_PORT ")


def test_the_page_ignores_the_signals_of_the_server_and_ends_with_its_standard_input(started: Started) -> None:
    number = started.process.pid
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(number, each)
    assert get(started.port, "/healthz").status == 503
    assert is_running(number)
    assert started.process.stdin is not None
    started.process.stdin.close()
    assert wait_for(lambda: started.process.poll() is not None, "its end")
    assert started.process.returncode == 0


def test_the_page_steps_back_behind_the_calls(started: Started) -> None:
    number = started.process.pid
    assert os.getpriority(os.PRIO_PROCESS, number) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    score = int(Path(f"/proc/{number}/oom_score_adj").read_text())
    assert score > int(Path("/proc/self/oom_score_adj").read_text())


@pytest.mark.parametrize("arguments", [[], ["x"], ["3", "4"]])
def test_a_start_by_hand_says_that_the_server_starts_it(arguments: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "moh.http", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stderr == "The server starts this program itself, where MOH_HTTP is set (docs/page.md)\n"
