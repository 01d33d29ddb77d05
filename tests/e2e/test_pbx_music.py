"""What ``tools/pbx_music.py`` writes for a PBX. End to end: a call of the program, read as Asterisk reads it."""

from __future__ import annotations

import array
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from conftest import StartServer
from test_sip_client import Address, loudness
from tests.support.running import ROOT, TEST_TIMEOUT
from tools import pbx_music

PROGRAM = [sys.executable, str(ROOT / "tools" / "pbx_music.py")]
PACKET = b"\xff" * 160


def read(pipe: int, octets: int) -> bytes:
    """Read exactly so many octets, or fewer at the end of the pipe."""
    found = b""
    while len(found) < octets and (piece := os.read(pipe, octets - len(found))):
        found += piece
    return found


def test_a_pbx_reads_the_music_in_real_time_until_it_hangs_up(start_server: StartServer) -> None:
    server = start_server().ready()
    host, port = server.address
    with subprocess.Popen([*PROGRAM, f"{host}:{port}"], stdout=subprocess.PIPE) as program:
        assert program.stdout
        samples = array.array("h", read(program.stdout.fileno(), 2 * 8000))
        program.send_signal(signal.SIGHUP)
        assert program.wait(TEST_TIMEOUT) == 0
    assert not any(samples[:1600]), "0.2 s of silence lie ahead of the music"
    assert loudness(samples[2400:]) > -40
    assert "BYE from the caller" in server.says("ended after")


def test_a_closed_pipe_ends_the_call(start_server: StartServer) -> None:
    server = start_server().ready()
    host, port = server.address
    with subprocess.Popen([*PROGRAM, f"{host}:{port}"], stdout=subprocess.PIPE) as program:
        assert program.stdout
        program.stdout.close()
        assert program.wait(TEST_TIMEOUT) == 0
    assert "BYE from the caller" in server.says("ended after")


def test_the_end_of_the_server_ends_the_program(start_server: StartServer) -> None:
    server = start_server().ready()
    host, port = server.address
    with subprocess.Popen([*PROGRAM, f"{host}:{port}"], stdout=subprocess.PIPE) as program:
        assert program.stdout
        read(program.stdout.fileno(), 8000)
        server.terminate()
        assert program.wait(TEST_TIMEOUT) == 0


def test_a_refused_call_has_its_reason(start_server: StartServer, pipe: tuple[int, int]) -> None:
    server = start_server(MOH_ALLOW_MEDIA="192.0.2.0/24").ready()
    assert pbx_music.play(Address(*server.address), pipe[1]).startswith("488 ")


def test_without_a_host_it_says_what_it_is_for() -> None:
    done = subprocess.run(PROGRAM, capture_output=True, text=True, timeout=TEST_TIMEOUT, check=False)
    assert done.returncode == 2
    assert "pbx_music.py HOST[:PORT]" in done.stderr


# -- the pipe ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_silence_goes_ahead_when_the_pipe_is_nearly_empty(pipe: tuple[int, int]) -> None:
    pbx_music.write_music(PACKET, pipe[1])
    pbx_music.write_music(PACKET, pipe[1])
    assert len(os.read(pipe[0], 65536)) == pbx_music.CUSHION + 2 * 320


def test_a_pbx_that_does_not_read_finds_at_most_a_second_of_old_music(pipe: tuple[int, int]) -> None:
    for _ in range(500):
        pbx_music.write_music(PACKET, pipe[1])
    assert pbx_music.HIGH < pbx_music.waiting(pipe[1]) <= pbx_music.HIGH + 320
