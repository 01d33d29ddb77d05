"""End to end: how a real server starts, what it does when its ffmpegs fail, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.phone import Ear, Phone
from tests.support.running import Running, free_ports, is_free, is_running, wait_for


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as open_ear:
        yield open_ear


def one_line(server: Running) -> str:
    """What a server that did not start has said."""
    assert server.exit_status() == 1
    assert server.log.count("\n") == 1, server.log
    return server.log.strip()


# -- the start -----------------------------------------------------------------------------------------------------


def test_it_says_what_to_type_into_the_phone(start_server: StartServer) -> None:
    server = start_server(MOH_RTP_PORTS="20000-20099").ready()
    said = server.log.strip().partition("ready: ")[2]
    assert said == f"sip:123@127.0.0.1:{server.port}, music the built-in piece (48 s), RTP ports 20000-20099"


def test_a_second_server_on_the_same_port_says_so_in_one_line(own_server: Running, start_server: StartServer) -> None:
    second = start_server(MOH_SIP_PORT=str(own_server.port))
    said = one_line(second)
    assert said.startswith(f"Cannot listen on MOH_BIND 127.0.0.1, MOH_SIP_PORT {own_server.port}")
    assert "Address already in use" in said


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_that_cannot_be_had_is_told_in_one_line(start_server: StartServer, address: str) -> None:
    assert one_line(start_server(MOH_BIND=address)).startswith(f"Cannot listen on MOH_BIND {address}, MOH_SIP_PORT")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOH_BIND", "localhost"), ("MOH_BIND", "224.0.0.1"), ("MOH_SIP_PORT", "0"), ("MOH_SIP_PORT", "65536"),
        ("MOH_RTP_PORTS", "10000"), ("MOH_RTP_PORTS", "10100-10000"), ("MOH_RTP_PORTS", "80-90"),
        ("MOH_ADVERTISED_ADDRESS", "pbx.example.com"), ("MOH_ADVERTISED_ADDRESS", "0.0.0.0"), ("MOH_LOG", "loud"),
        ("MOH_DRAIN", "soon"), ("MOH_CACHE", "/dev/null"), ("MOH_CACHE", "~nobody-of-that-name"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_in_one_line(start_server: StartServer, name: str, value: str) -> None:
    said = one_line(start_server(**{name: value}))
    assert said.startswith(f"{name} is {value!r}")
    assert "expected" in said


def test_music_that_is_not_there_is_told_in_one_line(start_server: StartServer) -> None:
    assert one_line(start_server(MOH_MUSIC="/no/such.mp3")).startswith("Music is '/no/such.mp3': No such file")


def test_without_ffmpeg_it_does_not_start(own_server: Running, start_server: StartServer, tmp_path: Path) -> None:
    assert own_server.process.poll() is None  # it has converted the music: this one misses ffmpeg for the calls only
    assert one_line(start_server(PATH=str(tmp_path))).startswith("ffmpeg does not run, or ")


def test_it_takes_as_many_descriptors_as_it_may_have(start_server: StartServer) -> None:
    if not shutil.which("prlimit"):
        pytest.skip("needs prlimit (util-linux)")
    server = start_server(before=["prlimit", "--nofile=256:4096", "--"]).ready()
    limits = Path(f"/proc/{server.process.pid}/limits").read_text().splitlines()
    assert next(line.split()[3:5] for line in limits if line.startswith("Max open files")) == ["4096", "4096"]


def test_sigterm_while_the_music_is_converted_ends_the_conversion_and_leaves_no_file(
    start_server: StartServer, tmp_path: Path
) -> None:
    slow = tmp_path / "bin"
    slow.mkdir()
    real = f"case $* in *-encoders*) exec {shutil.which('ffmpeg')} $*;; esac"
    (slow / "ffmpeg").write_text(f"#!/bin/sh\n{real}\necho $$ > pid.new\nmv pid.new pid\nexec sleep 60\n")
    (slow / "ffmpeg").chmod(0o755)
    server = start_server(MOH_CACHE=str(tmp_path / "cache"), PATH=f"{slow}:{os.environ['PATH']}")
    wait_for((tmp_path / "pid").exists, "the conversion")
    with Phone(server.address) as phone:
        refused = phone.options()
        assert (refused.status, refused.get("retry-after")) == (503, "5"), "not ready, and not silent"
        assert phone.ask(phone.invite(("127.0.0.2", 30_000))).status == 503
        phone.ack()
    server.terminate()
    assert server.exit_status() == 0
    assert not is_running(int((tmp_path / "pid").read_text()))
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith("unfinished")] == []


# -- ffmpegs that fail ---------------------------------------------------------------------------------------------


def test_music_that_dies_comes_again_once_and_then_the_call_ends(own_server: Running, ear: Ear) -> None:
    with Phone(own_server.address) as phone:
        phone.call(ear.address)
        first = ear.packets(1)[0]
        (ffmpeg,) = own_server.ffmpegs
        os.kill(ffmpeg, signal.SIGKILL)

        wait_for(lambda: ear.packets(1)[0].ssrc != first.ssrc, "the music again")
        assert ear.packets(1)[0].source == first.source
        (ffmpeg,) = own_server.ffmpegs
        os.kill(ffmpeg, signal.SIGKILL)

        bye = phone.await_request("BYE")
        assert bye.first == f"BYE sip:201@127.0.0.1:{phone.address[1]} SIP/2.0"
        assert bye.get("call-id") == phone.call_id
        assert f";tag={phone.from_tag}" in bye.get("to")
        assert f";tag={phone.to_tag}" in bye.get("from")
        assert ear.falls_silent()
    assert own_server.has_no_ffmpeg()
    own_server.says("the music failed twice: ffmpeg ended with status -9")


def test_a_port_that_somebody_else_has_is_not_given_to_a_call(start_server: StartServer, ear: Ear) -> None:
    port = free_ports(5)
    server = start_server(MOH_RTP_PORTS=f"{port}-{port + 4}").ready()
    with Phone(server.address) as ann, Phone(server.address) as bob:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
            squatter.bind(("127.0.0.1", port + 1))
            assert ann.call(ear.address).media[1] == port + 2
            assert bob.call(ear.address).media[1] == port + 4, "the shared one"
        with Phone(server.address) as eve:
            assert eve.call(ear.address).media[1] == port
            assert ann.bye().status == bob.bye().status == eve.bye().status == 200


def test_an_ffmpeg_that_is_taken_away_ends_the_call_with_the_reason(
    start_server: StartServer, ear: Ear, tmp_path: Path
) -> None:
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.symlink_to(str(shutil.which("ffmpeg")))
    server = start_server(PATH=str(tmp_path)).ready()
    ffmpeg.unlink()
    with Phone(server.address) as phone:
        phone.call(ear.address)
        phone.await_request("BYE")
        server.says("ffmpeg does not start: No such file or directory")
        phone.to_tag = ""
        assert phone.options().status == 200


# -- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_it_is_stopped_every_caller_gets_a_bye(start_server: StartServer, ear: Ear, number: int) -> None:
    server = start_server().ready()
    with Phone(server.address) as ann, Phone(server.address) as bob:
        ann.call(ear.address)
        bob.call(ear.address)
        ear.packets(1)
        ffmpegs = server.ffmpegs
        server.process.send_signal(number)
        assert ann.await_request("BYE").get("call-id") == ann.call_id
        assert bob.await_request("BYE").get("call-id") == bob.call_id
        assert server.exit_status() == 0
        assert not any(map(is_running, ffmpegs))
        assert server.log.endswith("stopped\n")
        assert ear.falls_silent()


def test_with_a_drain_calls_go_on_until_the_last_has_ended(start_server: StartServer, ear: Ear) -> None:
    server = start_server(MOH_DRAIN="1h").ready()
    with Phone(server.address) as ann, Phone(server.address) as bob:
        ann.call(ear.address)
        server.terminate()
        server.says("the server stops: 1 calls may go on for 3600 s")
        assert bob.ask(bob.invite(ear.address)).status == 503
        bob.ack()
        assert bob.options().status == 503
        ear.waiting()
        ear.packets(10)
        assert ann.bye().status == 200
        assert server.exit_status() == 0
        assert server.log.endswith("stopped\n")


def test_a_second_sigterm_ends_a_drain_at_once(start_server: StartServer, ear: Ear) -> None:
    server = start_server(MOH_DRAIN="1h").ready()
    with Phone(server.address) as phone:
        phone.call(ear.address)
        server.terminate()
        server.says("may go on for 3600 s")
        server.terminate()
        phone.await_request("BYE")
        assert server.exit_status() == 0


def test_when_a_drain_is_over_every_caller_gets_a_bye(start_server: StartServer, ear: Ear) -> None:
    server = start_server(MOH_DRAIN="1s").ready()
    with Phone(server.address) as phone:
        phone.call(ear.address)
        server.terminate()
        assert "server stops" in phone.await_request("BYE").get("reason")
        assert server.exit_status() == 0


def test_it_does_not_wait_for_a_caller_who_is_gone(start_server: StartServer, ear: Ear) -> None:
    server = start_server().ready()
    with Phone(server.address) as phone:
        phone.call(ear.address)
    server.terminate()
    assert server.exit_status() == 0
    assert server.log.endswith("stopped\n")


def test_being_asked_to_end_twice_is_being_asked_once(start_server: StartServer, ear: Ear) -> None:
    server = start_server().ready()
    with Phone(server.address) as phone:
        phone.call(ear.address)
        server.terminate()
        server.process.send_signal(signal.SIGINT)
        phone.await_request("BYE")
        assert server.exit_status() == 0
        assert "Traceback" not in server.log


def test_it_ends_well_in_a_flood_of_requests(start_server: StartServer) -> None:
    """Workers that are busy when the end comes must not meet an interpreter that is going down."""
    server = start_server(MOH_LOG="info").ready()
    over = threading.Event()

    def flood() -> None:
        with Phone(server.address) as phone:
            request = phone.request("MESSAGE")
            while not over.is_set():
                phone.send(request)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        server.says("refused")
        server.terminate()
        status = server.exit_status()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert status == 0, server.log[-2_000:]
    assert "Traceback" not in server.log


def test_kill_9_leaves_no_ffmpeg(start_server: StartServer, ear: Ear) -> None:
    server = start_server().ready()
    with Phone(server.address) as phone:
        port = phone.call(ear.address).media[1]
        ear.packets(1)
        ffmpegs = server.ffmpegs
        assert len(ffmpegs) == 1
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(is_running, ffmpegs)), "the end of its ffmpeg")
        assert ear.falls_silent()
    assert is_free(port)
