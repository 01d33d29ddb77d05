"""End to end: ``sip_server.py --explain`` and ``./start.sh --explain``, as an owner calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.pastes import INVITE, OUR_LOG
from tests.support.running import ROOT

NONE: Mapping[str, str] = {}
PLAYS = "The server answers 200 OK, and music plays.\n"


def run(
    *arguments: str, data: bytes = b"", folder: Path = ROOT, environment: Mapping[str, str] = NONE
) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MOH_", "LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, str(ROOT / "sip_server.py"), *arguments], input=data, capture_output=True, cwd=folder,
        env={**kept, "LC_ALL": "C.UTF-8", **environment}, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [("--explain",), ("--explain", "-"), ("--explain", "invite.txt"), ("--explain=invite.txt",)]
)
def test_a_file_or_the_standard_input_is_explained(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "invite.txt").write_bytes(INVITE)
    ran = run(*arguments, data=INVITE, folder=tmp_path)
    assert ran.stdout.decode().startswith(PLAYS) and not ran.stderr and ran.returncode == 0


def test_the_exit_status_says_what_becomes_of_the_call() -> None:
    assert run("--explain", data=OUR_LOG.encode()).returncode == 0
    refused = run("--explain", data=INVITE.replace(b"RTP/AVP 0 8 9 18 101", b"RTP/AVP 18          "))
    assert b"this server plays none of that" in refused.stdout and refused.returncode == 1
    assert run("--explain", data=b"hello").returncode == 2
    shut_out = run("--explain", data=INVITE, environment={"MOH_ALLOW": "10.0.0.0/8"})
    assert b"in none of the networks of MOH_ALLOW (10.0.0.0/8)" in shut_out.stdout and shut_out.returncode == 1
    assert run("--explain", "--from", "10.0.0.9", data=INVITE, environment={"MOH_ALLOW": "10.0.0.0/8"}).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (("--explain", "/no/such/file"), {}, "/no/such/file: No such file or directory"),
        (("--explain", "/"), {}, "/: Is a directory"),
        (("--explain", "--from", "phone"), {}, "--from is 'phone'; expected an IP address, with or without a port"),
        (("--explain",), {"MOH_ALLOW": "x"}, "MOH_ALLOW is 'x'; expected networks as 192.168.0.0/16"),
        (("--from", "10.0.0.9"), {}, "--from is for --explain"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(arguments: tuple[str, ...], environment: dict[str, str], line: str) -> None:
    ran = run(*arguments, data=INVITE, environment=environment)
    assert line in ran.stderr.decode().splitlines()[-1] and not ran.stdout and ran.returncode == 2


def test_an_endless_input_is_read_no_further_than_needed() -> None:
    ran = run("--explain", "/dev/zero")
    assert b"longer than 1048576 octets" in ran.stdout and ran.returncode == 2


def test_a_japanese_terminal_gets_japanese() -> None:
    ran = run("--explain", data=INVITE, environment={"LC_ALL": "", "LANG": "ja_JP.UTF-8", "PYTHONUTF8": "1"})
    assert ran.stdout.decode().startswith("サーバーは 200 OK と応答し、音楽が流れます。\n")
    ran = run("--explain", data=INVITE, environment={"LC_ALL": "ja_JP", "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 0 and ran.stdout.startswith(b"????? 200 OK ")


def test_a_closed_standard_input_is_named() -> None:
    command = ["/bin/sh", "-c", 'exec "$0" "$1" --explain <&-', sys.executable, str(ROOT / "sip_server.py")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stderr == "There is no text to explain: standard input is closed\n" and ran.returncode == 2
