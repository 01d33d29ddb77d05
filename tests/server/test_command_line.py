"""End to end: ``sip_server.py`` in a Python without any package: ``-S`` leaves out the folder that packages are in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moh.common.config import Settings
from tests.support.running import TEST_TIMEOUT

ROOT = Path(__file__).parent.parent.parent


def run_bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-E", "-S", str(ROOT / "sip_server.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TEST_TIMEOUT, check=False)


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_needs_no_package(option: str) -> None:
    done = run_bare(option)
    assert (done.returncode, done.stderr) == (0, "")
    for env, _, text in Settings.table():
        assert any(line.split()[:1] == [env] and text in line for line in done.stdout.splitlines())


def test_an_unknown_option_needs_no_package_either() -> None:
    done = run_bare("--port=5060")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "sip_server.py: error: unrecognized arguments: --port=5060"


def test_json_is_for_the_check() -> None:
    done = run_bare("--json")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "sip_server.py: error: --json is for --check"


def test_a_server_without_its_package_says_how_to_get_it_in_one_line() -> None:
    done = run_bare()
    assert done.returncode == 1
    assert done.stderr == "This Python has no package 'ffmpeg-python'; ./start.sh installs it, and starts the server\n"
