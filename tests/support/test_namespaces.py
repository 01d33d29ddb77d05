"""End to end: namespaces of a test run that was killed do not disturb the next run. Needs root, and ``ip``."""

from __future__ import annotations

import subprocess
import sys

from tests.support.namespaces import addresses_stay, ip, linked, wire

KILLED = """
import os
from tests.support.namespaces import linked
with linked("killed", "10.213.78.2", "10.213.78.1"):
    os.kill(os.getpid(), 9)
"""


def test_a_namespace_of_a_killed_run_is_removed() -> None:
    with linked("before", "10.213.80.2", "10.213.80.1"):
        pass  # skips where no namespace can be made
    gone = subprocess.Popen([sys.executable, "-c", KILLED])
    assert gone.wait() == -9
    assert f"moh-killed-{gone.pid}" in ip("netns", "list").stdout
    assert wire("killed", gone.pid) in ip("-br", "link").stdout

    with linked("next", "10.213.78.2", "10.213.78.1") as next_run:
        assert f"moh-killed-{gone.pid}" not in ip("netns", "list").stdout
        assert f" dev {next_run.wire} " in ip("route", "get", "10.213.78.2").stdout
    assert next_run.name not in ip("netns", "list").stdout


def test_a_namespace_of_a_living_process_stays() -> None:
    with linked("first", "10.213.78.2", "10.213.78.1") as first, linked("next", "10.213.80.2", "10.213.80.1"):
        assert first.name in ip("netns", "list").stdout


def test_another_process_makes_its_link_when_this_one_no_longer_needs_the_addresses() -> None:
    waits = "from tests.support.namespaces import addresses_stay\nwith addresses_stay(): print('has it')"
    with addresses_stay():
        with addresses_stay():
            pass
        other = subprocess.Popen(
            [sys.executable, "-c", f"print(flush=True)\n{waits}"], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None and other.stdout.readline() == "\n"
        assert other.poll() is None
    assert other.communicate()[0] == "has it\n" and other.returncode == 0
