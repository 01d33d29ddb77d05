"""End to end: an ffmpeg of a real server dies or cannot start, or another program has a port of the server's range."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

from conftest import StartServer
from tests.support.phone import Ear, Phone
from tests.support.running import Running, free_ports, wait_for


def test_a_dead_ffmpeg_is_replaced_once_and_then_the_call_ends(own_server: Running, held: Ear) -> None:
    with Phone(own_server.address) as phone:
        phone.call(held.address)
        first = held.packets(1)[0]
        (ffmpeg,) = own_server.ffmpegs
        os.kill(ffmpeg, signal.SIGKILL)

        wait_for(lambda: held.packets(1)[0].ssrc != first.ssrc, "the music of the second ffmpeg")
        assert held.packets(1)[0].source == first.source
        (ffmpeg,) = own_server.ffmpegs
        os.kill(ffmpeg, signal.SIGKILL)

        bye = phone.await_request("BYE")
        assert bye.first == f"BYE sip:201@127.0.0.1:{phone.address[1]} SIP/2.0"
        assert bye.get("call-id") == phone.call_id
        assert f";tag={phone.from_tag}" in bye.get("to")
        assert f";tag={phone.to_tag}" in bye.get("from")
        assert held.falls_silent()
    assert own_server.has_no_ffmpeg()
    own_server.says("the music failed twice: ffmpeg ended with status -9")


def test_a_port_that_another_program_has_is_not_given_to_a_call(start_server: StartServer, held: Ear) -> None:
    port = free_ports(5)
    server = start_server(MOH_RTP_PORTS=f"{port}-{port + 4}").ready()
    with Phone(server.address) as ann, Phone(server.address) as bob:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_program:
            other_program.bind(("127.0.0.1", port + 1))
            assert ann.call(held.address).media[1] == port + 2
            held.packets(10)  # a call that came sooner would share the stream, as in a burst
            assert bob.call(held.address).media[1] == port + 4, "the port of the shared stream"
        with Phone(server.address) as eve:
            assert eve.call(held.address).media[1] == port
            assert ann.bye().status == bob.bye().status == eve.bye().status == 200


def test_a_call_ends_with_the_reason_when_the_ffmpeg_program_is_missing(
    start_server: StartServer, held: Ear, tmp_path: Path
) -> None:
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.symlink_to(str(shutil.which("ffmpeg")))
    server = start_server(PATH=str(tmp_path)).ready()
    ffmpeg.unlink()
    with Phone(server.address) as phone:
        phone.call(held.address)
        phone.await_request("BYE")
        server.says("ffmpeg does not start: No such file or directory")
        phone.to_tag = ""
        assert phone.options().status == 200
