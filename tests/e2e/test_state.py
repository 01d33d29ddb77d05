"""End to end: the state of a real server, as the page, the metrics and ``--check`` read it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from conftest import StartServer
from moh.net.state_client import NoState, read_state, state_name
from tests.support.phone import Ear, Phone
from tests.support.running import Running, wait_for


def state_of(server: Running) -> dict[str, Any]:
    return read_state("127.0.0.1", server.port)


def wait_for_part(server: Running, part: str, condition: Callable[[Any], object]) -> Any:
    """Wait until ``condition`` holds for a part of the state, and return that part."""
    return wait_for(lambda: [found for found in [state_of(server)[part]] if condition(found)], f"a state of {part}")[0]


def test_a_call_is_seen_to_come_and_to_end(start_server: StartServer, held: Ear) -> None:
    server = start_server(MOH_FFMPEG_CALLS="1").ready()
    found = state_of(server)
    assert (found["ready"], found["stopping"], found["pid"]) == (True, False, server.process.pid)
    assert found["uri"] == f"sip:123@127.0.0.1:{server.port}" and found["music"]["builtin"]
    assert found["calls"] == {"now": 0, "listed": [], "playing": []} and found["totals"]["last_call"] is None
    with Phone(server.address) as phone, Phone(server.address) as other, Ear("127.0.0.3") as ear:
        phone.call(held.address)
        assert held.packets(10)
        other.call(ear.address)
        assert ear.packets(10)
        shared, own = wait_for_part(
            server, "calls", lambda calls: len(calls["listed"]) == 2 and calls["listed"][0]["packets"]
        )["listed"]
        assert (own["engine"], own["state"], own["receiver"]) == (
            "ffmpeg",
            "plays",
            f"{held.address[0]}:{held.address[1]}",
        )
        assert (shared["engine"], shared["codec"], shared["packets_estimated"]) == ("shared", "PCMU", False)
        assert 0 <= shared["lateness"] < 1
        totals = state_of(server)["totals"]
        counts = {(row["codec"], row["engine"]): row["count"] for row in totals["calls"]}
        assert counts == {("PCMU", "ffmpeg"): 1, ("PCMU", "shared"): 1}
        assert totals["ffmpeg_starts"] == 1 and totals["packets"]["ffmpeg"] > 0 and totals["packets"]["shared"] > 0
        phone.bye()
        other.bye()
    newest, _ = wait_for_part(server, "ended", lambda ended: len(ended) == 2)
    assert (newest["reason"], newest["why"], newest["state"]) == ("BYE", "BYE from the caller", "ended")
    wait_for_part(server, "totals", lambda totals: totals["ended"] == {"BYE": 2})
    histograms = state_of(server)["histograms"]
    assert sum(histograms["setup"]["counts"]) == 2 and 0 < histograms["setup"]["sum"] < 2.0
    assert sum(histograms["first_packet"]["counts"]) == 1
    assert sum(histograms["lateness"]["counts"]) >= 10


def test_refusals_name_their_source(start_server: StartServer) -> None:
    server = start_server(MOH_ALLOW="127.0.0.1").ready()
    with Phone(server.address) as phone, Phone(server.address, "127.0.0.9") as other:
        assert phone.ask(phone.request("REGISTER")).status == 405
        other.send(other.request("REGISTER"))
        found = wait_for_part(server, "refusals", lambda refusals: len(refusals) == 2)
    assert [(row["reason"], row["kind"], row["source"], row["count"]) for row in found] == [
        ("not in MOH_ALLOW", "rejected", "127.0.0.9", 1),
        ("REGISTER 405", "refused", "127.0.0.1", 1),
    ]


def test_the_srtp_key_of_a_call_is_nowhere_in_the_state(own_server: Running, held: Ear) -> None:
    server = own_server
    host, port = held.address
    body = (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/SAVP 0\r\n"
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\r\na=recvonly\r\n"
    )
    with Phone(server.address) as phone:
        key = phone.call_with(body).body.partition("inline:")[2].split()[0]
        found = state_of(server)
        assert found["calls"]["listed"][0]["encrypted"]
        assert len(key) >= 40 and key not in json.dumps(found)
        phone.bye()


def test_readers_that_hang_and_crowds_disturb_neither_calls_nor_other_readers(own_server: Running, held: Ear) -> None:
    server, readers = own_server, []
    try:
        for _ in range(60):
            readers.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            readers[-1].connect(state_name("127.0.0.1", server.port))
        with Phone(server.address) as phone:
            phone.call(held.address)
            assert held.packets(20)
            wait_for_part(server, "calls", lambda calls: calls["now"] == 1)
            for _ in range(40):
                assert state_of(server)["calls"]["now"] == 1
            phone.bye()
    finally:
        for sock in readers:
            sock.close()
    assert state_of(server)["totals"]["unexpected_errors"] == 0


def test_another_user_cannot_read_the_state(own_server: Running) -> None:
    if os.geteuid():
        pytest.skip("needs root, to become another user")
    # a socket of root's is read by every user, so it is the server that refuses
    os.seteuid(4711)
    try:
        with pytest.raises(NoState, match="the server does not answer user 4711; expected its own user, or root"):
            state_of(own_server)
    finally:
        os.seteuid(0)
    assert state_of(own_server)["ready"]


def test_after_the_end_there_is_no_state_and_the_next_server_has_one(start_server: StartServer) -> None:
    server = start_server().ready()
    server.terminate()
    assert server.exit_status() == 0
    with pytest.raises(NoState, match="no server runs here"):
        state_of(server)
    again = start_server(MOH_SIP_PORT=str(server.port)).ready()
    assert state_of(again)["pid"] == again.process.pid
