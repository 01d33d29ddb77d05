"""The pure parts of ``bench.floods``; and its generator, end to end on real sockets."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.farm import compiled
from bench.floods import Row, counted, floods, table, waited
from bench.honest import KINDS, Call
from moh.message import Request, parse


def test_each_flood_is_what_it_says() -> None:
    for flood in floods():
        if flood.way == "udp" and flood.data[:4] in (b"OPTI", b"INVI", b"REGI"):
            message = parse(flood.data)
            assert isinstance(message, Request) and message.fault is None, flood.name
            assert b"########" in flood.data


def test_an_honest_call_is_a_request_without_fault() -> None:
    call = Call(("203.0.113.1", 5070), ("192.0.2.1", 5060), ("192.0.2.1", 4000))
    ack = call.ack(b"SIP/2.0 200 OK\r\nTo: <sip:1@203.0.113.1>;tag=ours\r\n\r\n")
    for data, method in ((call.invite(), "INVITE"), (ack, "ACK"), (call.bye(), "BYE")):
        message = parse(data)
        assert isinstance(message, Request) and message.fault is None and message.method == method
    assert b">;tag=ours\r\n" in call.bye()


def test_what_the_server_tells_is_read() -> None:
    said = "3 ended by BYE, 20 INVITE 503; datagrams turned away: 7 for want of workers, 5 too many messages"
    assert counted(said) == {
        "ended by BYE": 3, "INVITE 503": 20, "for want of workers": 7, "too many messages": 5,
    }  # fmt: skip
    assert counted("nothing; datagrams turned away: 0 for want of workers") == {"for want of workers": 0}


def test_who_was_not_answered_counts() -> None:
    assert waited([0.002, None, 0.004, 0.003]) == "3 of 4, 3 / 4"
    assert waited([None]) == "0 of 1"


def test_the_table_has_a_row_for_each_flood() -> None:
    did = {"seconds": 8.0, "sent": 800, "sent_octets": 8000, "answer_octets": 80}
    row = Row("OPTIONS", did, {"spacing_p99": 20.0}, {"spacing_p99": 21.0}, (1, 2), (3.0, 40.0), (30.0, 31.0), 8, {},
              {kind: [0.01] for kind in KINDS}, 0.0)  # fmt: skip
    last = table([row]).splitlines()[-1]
    for cell in ("OPTIONS", "100", "0.0100", "1.0", "3 -> 40", "1 / 2", "x 1.05", "1 of 1, 10 / 10", "30.0 -> 31.0"):
        assert f" {cell} |" in last


@pytest.mark.skipif(not shutil.which("cc") or not sys.platform.startswith("linux"), reason="needs Linux and a compiler")
def test_the_generator_comes_from_all_its_addresses_and_ends_with_its_input(tmp_path: Path) -> None:
    binary = compiled("flood.c", tmp_path)
    (tmp_path / "data").write_bytes(b"OPTIONS ########")
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(100)
        words = [binary, "tcp", "127.0.0.1", str(door.getsockname()[1]), "127.0.0.2", "3", "100", "30"]
        process = subprocess.Popen(
            [*words, str(tmp_path / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        door.settimeout(10)
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
