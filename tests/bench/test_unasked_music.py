"""``bench.attack.unasked_music``: its messages and its table. End to end: one attack on a real server, as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from bench.attack.unasked_music import ATTACKER, Attack, attacks, table
from bench.common.program import ROOT
from moh.sip.message import Request
from moh.sip.parser import parse

RUN = """
from bench.attack import unasked_music
from bench.common.program import SCRIPT
unasked_music.attacks = lambda: [unasked_music.Attack("one host", 1, 10), unasked_music.Attack("two", 2, 10)]
unasked_music.SETTLE = unasked_music.COUNT = 1.0
print(unasked_music.measure(SCRIPT))
"""


def test_the_requests_of_a_call_have_no_fault_and_belong_together() -> None:
    attack = attacks()[1]
    invite, ack = parse(attack.message("INVITE", 70)), parse(attack.message("ACK", 70, ";tag=abc"))
    assert isinstance(invite, Request) and isinstance(ack, Request)
    assert invite.fault is None and ack.fault is None
    assert f"c=IN IP4 {attack.host(70)}".encode() in invite.body and attack.host(70) != ATTACKER
    assert invite.call_id == ack.call_id and ack.to.tag == "abc"
    assert invite.via.params["branch"] != ack.via.params["branch"]
    refused = parse(attack.message("ACK", 70, ";tag=abc", "INVITE"))
    assert isinstance(refused, Request) and refused.via.params["branch"] == invite.via.params["branch"]


def test_the_table_has_a_row_for_each_attack() -> None:
    assert table([Attack("one host", 1, 400, octets=106500, accepted=8, mbits=0.64)]).splitlines()[2:] == [
        "| one host | 400 | 106500 | 8 | 0.6 |"
    ]


def test_music_to_silent_hosts_is_counted() -> None:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip", "setpriv"))):
        pytest.skip("needs root, and unshare, nsenter, setpriv and ip to make network namespaces")
    inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"', sys.executable, "-c", RUN]
    done = subprocess.run(inside, cwd=ROOT, capture_output=True, text=True, timeout=90)
    if done.returncode and "Operation not permitted" in done.stderr:
        pytest.skip("the kernel gives no network namespace")
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row[3] for row in rows] == ["8", "10"]
    assert [0.3 < float(row[4]) < 1.2 for row in rows] == [True, True], rows
