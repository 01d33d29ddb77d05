"""A test that hangs fails by itself, and the tests behind it run: pytest-timeout, as ``pyproject.toml`` sets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import ROOT

LONGEST_HONEST = 120
"""Seconds that the longest honest test takes on a slow machine: half a minute of calls, with injected faults."""
HANGING = """
import queue, socket, subprocess, threading, time

def test_sleep(): time.sleep(60)
def test_lock(): lock = threading.Lock(); lock.acquire(); lock.acquire()
def test_thread(): thread = threading.Thread(target=time.sleep, args=(60,), daemon=True); thread.start(); thread.join()
def test_event(): threading.Event().wait()
def test_queue(): queue.SimpleQueue().get()
def test_socket(): pair = socket.socketpair(); pair[0].recv(1)
def test_process(): subprocess.run(["sleep", "60"])
def test_loop():
    while True: pass
def test_that_is_well(): pass
"""


def test_each_test_has_a_time_limit_that_no_honest_test_meets(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.pluginmanager.hasplugin("timeout"), "pip install -r requirements-dev.txt"
    assert 4 * LONGEST_HONEST < float(pytestconfig.getini("timeout")) < 1200


def test_a_test_that_hangs_fails_and_the_others_run(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    configuration = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *configuration, "-o", "timeout=0.5", "test_hanging.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "8 failed, 1 passed" in ran.stdout, ran.stdout
    assert ran.stdout.count("Failed: Timeout (>0.5s)") >= 8
