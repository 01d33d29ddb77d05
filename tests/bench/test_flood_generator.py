"""The generator of floods, ``bench/attack/flood.c``, end to end on real sockets."""

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


def generator(folder: Path, door: socket.socket, way: str) -> subprocess.Popen[str]:
    """It comes to ``door`` from three addresses, until its input ends; skips where it cannot be made."""
    if not shutil.which("cc") or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a compiler")
    (folder / "data").write_bytes(b"OPTIONS ########")
    door.bind(("127.0.0.1", 0))
    door.listen(100)
    door.settimeout(10)
    words = [compiled(SOURCE, folder), way, "127.0.0.1", str(door.getsockname()[1]), "127.0.0.2", "3", "100", "30"]
    return subprocess.Popen([*words, str(folder / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_generator_comes_from_all_its_addresses_and_ends_with_its_input(tmp_path: Path) -> None:
    with socket.socket() as door:
        process = generator(tmp_path, door, "tcp")
        hosts, heard = [], b""
        for _ in range(4):
            one, (host, _) = door.accept()
            hosts.append(host)
            if len(hosts) == 1:
                one.settimeout(10)
                heard = one.recv(100)
            one.close()
        did = json.loads(process.communicate(timeout=20)[0])
    assert hosts == ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.2"]
    assert heard == b"OPTIONS ########"
    assert did["sent"] >= 4 and did["seconds"] < 30


def test_the_generator_sends_one_whole_message_after_the_other_and_opens_anew_what_was_closed(tmp_path: Path) -> None:
    with socket.socket() as door, ExitStack() as stack:
        process = generator(tmp_path, door, "pipe")
        lines = [door.accept() for _ in range(3)]
        assert [host for _, (host, _) in lines] == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
        numbers = []
        for line, _ in lines:
            stack.enter_context(line)
            line.settimeout(10)
            numbers.append(line.makefile("rb").read(32))
            line.sendall(b"SIP/2.0 200 OK\r\n\r\n")
        assert all(re.fullmatch(rb"(OPTIONS [0-9a-f]{8}){2}", number) for number in numbers), numbers
        lines[1][0].close()
        again, (host, _) = door.accept()
        stack.enter_context(again)
        assert host == "127.0.0.3"
        did = json.loads(process.communicate(timeout=20)[0])
    assert did["answers"] >= 1 and did["closed"] >= 1 and did["sent"] >= 6
