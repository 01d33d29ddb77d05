"""End to end, on real sockets: the generator of floods, ``bench/attack/flood.c``."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.attack.floods import SOURCE
from bench.common.compiler import compiled


def generator(folder: Path, server: socket.socket, mode: str) -> subprocess.Popen[str]:
    """Start a generator that connects to ``server`` from three addresses until its input ends.

    The test is skipped if there is no compiler.
    """
    if not shutil.which("cc") or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a compiler")
    (folder / "data").write_bytes(b"OPTIONS ########")
    server.bind(("127.0.0.1", 0))
    server.listen(100)
    server.settimeout(10)
    command = [compiled(SOURCE, folder), mode, "127.0.0.1", str(server.getsockname()[1]), "127.0.0.2", "3", "100", "30"]
    return subprocess.Popen([*command, str(folder / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_connections_come_from_all_addresses_until_the_input_ends(tmp_path: Path) -> None:
    with socket.socket() as server:
        process = generator(tmp_path, server, "tcp")
        hosts, received = [], b""
        for _ in range(4):
            one, (host, _) = server.accept()
            hosts.append(host)
            if len(hosts) == 1:
                one.settimeout(10)
                received = one.recv(100)
            one.close()
        report = json.loads(process.communicate(timeout=20)[0])
    assert hosts == ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.2"]
    assert received == b"OPTIONS ########"
    assert report["sent"] >= 4 and report["seconds"] < 30


def test_whole_messages_follow_each_other_and_closed_connections_are_opened_again(tmp_path: Path) -> None:
    with socket.socket() as server, ExitStack() as stack:
        process = generator(tmp_path, server, "pipe")
        lines = [server.accept() for _ in range(3)]
        assert [host for _, (host, _) in lines] == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
        numbers = []
        for line, _ in lines:
            stack.enter_context(line)
            line.settimeout(10)
            numbers.append(line.makefile("rb").read(32))
            line.sendall(b"SIP/2.0 200 OK\r\n\r\n")
        assert all(re.fullmatch(rb"(OPTIONS [0-9a-f]{8}){2}", number) for number in numbers), numbers
        lines[1][0].close()
        again, (host, _) = server.accept()
        stack.enter_context(again)
        assert host == "127.0.0.3"
        report = json.loads(process.communicate(timeout=20)[0])
    assert report["answers"] >= 1 and report["closed"] >= 1 and report["sent"] >= 6
