"""End to end: how a real server starts and how it stops."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.phone import Ear, Phone
from tests.support.running import Running, is_free, is_running, wait_for


def one_line(server: Running) -> str:
    """Wait for the end of a server that cannot start. Return the only line of its log."""
    assert server.exit_status() == 1
    assert server.log.count("\n") == 1, server.log
    return server.log.strip()


# -- the start -----------------------------------------------------------------------------------------------------


def test_the_log_says_what_to_type_into_the_phone(start_server: StartServer) -> None:
    server = start_server(MOH_RTP_PORTS="20000-20099").ready()
    line = server.log.strip().partition("ready: ")[2]
    assert line == f"sip:123@127.0.0.1:{server.port}, music the built-in piece (48 s), RTP ports 20000-20099"


def test_a_second_server_on_the_same_port_logs_one_line(own_server: Running, start_server: StartServer) -> None:
    second = start_server(MOH_SIP_PORT=str(own_server.port))
    line = one_line(second)
    where = f"MOH_BIND 127.0.0.1, MOH_SIP_PORT {own_server.port} (UDP)"
    why = "another program uses this port; expected a port that is free"
    assert line == f"Cannot listen on {where}: {why}"


@pytest.mark.parametrize("transport", ["TCP", "TLS"])
def test_a_port_that_another_program_has_is_named_with_its_setting(
    start_server: StartServer, tmp_path: Path, transport: str
) -> None:
    settings = {}
    if transport == "TLS":
        trustme = pytest.importorskip("trustme", reason="needs trustme: pip install -r requirements-dev.txt")
        certificate = tmp_path / "certificate.pem"
        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        settings = {"MOH_TLS_CERT": str(certificate)}
    name = "MOH_TLS_PORT" if transport == "TLS" else "MOH_SIP_PORT"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = one_line(start_server(**settings, **{name: str(port)}))
    assert line.startswith(
        f"Cannot listen on MOH_BIND 127.0.0.1, {name} {port} ({transport}): another program uses this port;"
    )


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_server_whose_standard_input_or_error_is_closed_runs(
    start_server: StartServer, held: Ear, closed: str
) -> None:
    server = start_server(before=["sh", "-c", f'exec "$@" {closed}', "sh"]).ready()
    numbers = [os.readlink(f"/proc/{server.process.pid}/fd/{number}") for number in range(3)]
    assert not any(place.startswith("socket:") for place in numbers), numbers
    with Phone(server.address) as phone:
        phone.call(held.address)
        held.packets(1)
        assert phone.bye().status == 200


def test_a_closed_standard_output_is_reported_in_one_line(start_server: StartServer) -> None:
    assert one_line(start_server(before=["sh", "-c", 'exec "$@" >&-', "sh"])) == (
        "The log cannot be written: standard output is closed; expected a terminal, file or pipe"
    )


def test_a_log_that_cannot_be_written_is_reported_in_one_line_and_the_server_goes_on(
    start_server: StartServer, held: Ear
) -> None:
    server = start_server(before=["sh", "-c", 'exec "$@" >/dev/full', "sh"])
    line = "The log cannot be written: No space left on device; lines are dropped\n"
    server.says(line)
    with Phone(server.address) as phone:
        wait_for(lambda: phone.options().status == 200, "the music")
        phone.call(held.address)
        held.packets(1)
        assert phone.bye().status == 200
    server.terminate()
    assert server.exit_status() == 0
    assert server.log == line


# -- signals during the start --------------------------------------------------------------------------------------


def holds_signals(server: Running) -> bool:
    """Whether the program has begun: the kernel holds SIGHUP back, or a handler has it."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigBlk:", "SigCgt:"))]
    return any(mask >> (signal.SIGHUP - 1) & 1 for mask in masks)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_ends_no_server_that_is_starting(start_server: StartServer, number: int) -> None:
    server = start_server()
    wait_for(lambda: holds_signals(server), "the first line of the program")
    while "ready: " not in server.log:
        server.process.send_signal(number)
        assert server.process.poll() is None, server.log
        time.sleep(0.005)
    server.says("the music is unchanged: " if number == signal.SIGHUP else "0 calls")
    server.terminate()
    assert server.exit_status() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_while_it_starts_stops_in_order(start_server: StartServer, number: int) -> None:
    server = start_server(MOH_DRAIN="1h")
    wait_for(lambda: holds_signals(server), "the first line of the program")
    server.process.send_signal(number)
    assert server.exit_status() == 0, server.log
    assert server.log.endswith("stopped\n")


def test_a_server_that_cannot_start_says_so_though_it_was_signalled(start_server: StartServer) -> None:
    server = start_server(MOH_LOG="loud")
    wait_for(lambda: holds_signals(server), "the first line of the program")
    server.process.send_signal(signal.SIGHUP)
    assert one_line(server).startswith("MOH_LOG is 'loud'")


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_reported_in_one_line(start_server: StartServer, address: str) -> None:
    line = one_line(start_server(MOH_BIND=address))
    assert line.startswith(f"Cannot listen on MOH_BIND {address}, MOH_SIP_PORT")
    assert line.endswith(": this machine has no such address; expected one of its own, or 0.0.0.0 for all of them")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOH_BIND", "localhost"), ("MOH_BIND", "224.0.0.1"), ("MOH_SIP_PORT", "0"), ("MOH_SIP_PORT", "65536"),
        ("MOH_RTP_PORTS", "10000"), ("MOH_RTP_PORTS", "10100-10000"), ("MOH_RTP_PORTS", "80-90"),
        ("MOH_ADVERTISED_ADDRESS", "pbx.example.com"), ("MOH_ADVERTISED_ADDRESS", "0.0.0.0"), ("MOH_LOG", "loud"),
        ("MOH_DRAIN", "soon"), ("MOH_ALLOW", ","), ("MOH_CACHE", "/dev/null"), ("MOH_CACHE", "~nobody-of-that-name"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_reported_in_one_line(start_server: StartServer, name: str, value: str) -> None:
    line = one_line(start_server(**{name: value}))
    assert line.startswith(f"{name} is {value!r}")
    assert "expected" in line


def test_without_ffmpeg_the_server_does_not_start(
    own_server: Running, start_server: StartServer, tmp_path: Path
) -> None:
    assert own_server.process.poll() is None  # this server has converted the music already
    assert one_line(start_server(PATH=str(tmp_path))).startswith("the program ffmpeg is missing. ")


def test_the_server_raises_its_limit_of_descriptors_to_the_hard_limit(start_server: StartServer) -> None:
    if not shutil.which("prlimit"):
        pytest.skip("needs prlimit: apt-get install util-linux")
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
        assert (refused.status, refused.get("retry-after")) == (503, "5"), "not ready, but not silent"
        assert phone.ask(phone.invite(("127.0.0.2", 1024))).status == 503, "of a port that no server has"
        phone.ack()
    server.terminate()
    assert server.exit_status() == 0
    assert not is_running(int((tmp_path / "pid").read_text()))
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith("unfinished")] == []


# -- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_each_caller_gets_a_bye_when_the_server_is_stopped(start_server: StartServer, held: Ear, number: int) -> None:
    server = start_server().ready()
    with Phone(server.address) as ann, Phone(server.address) as bob:
        ann.call(held.address)
        held.packets(10)  # a call that came sooner could share the stream, and its encoder would count as an ffmpeg
        bob.call(held.address)
        held.packets(1)
        ffmpegs = server.ffmpegs
        server.process.send_signal(number)
        assert ann.await_request("BYE").get("call-id") == ann.call_id
        assert bob.await_request("BYE").get("call-id") == bob.call_id
        assert server.exit_status() == 0
        assert not any(map(is_running, ffmpegs))
        assert server.log.endswith("stopped\n")
        assert held.falls_silent()


def test_in_a_drain_calls_go_on_until_the_last_has_ended(start_server: StartServer, held: Ear) -> None:
    server = start_server(MOH_DRAIN="1h").ready()
    with Phone(server.address) as ann, Phone(server.address) as bob:
        ann.call(held.address)
        server.terminate()
        server.says("the server stops: 1 call may go on for 3600 s")
        assert bob.options().status == 503
        bob.call(held.address)
        assert bob.bye().status == 200, "a proxy may not have noticed yet"
        held.waiting()
        held.packets(10)
        assert ann.bye().status == 200
        assert server.exit_status() == 0
        assert server.log.endswith("stopped\n")


def test_a_second_sigterm_ends_a_drain_at_once(start_server: StartServer, held: Ear) -> None:
    server = start_server(MOH_DRAIN="1h").ready()
    with Phone(server.address) as phone:
        phone.call(held.address)
        server.terminate()
        server.says("may go on for 3600 s")
        server.terminate()
        phone.await_request("BYE")
        assert server.exit_status() == 0


def test_each_caller_gets_a_bye_when_the_drain_time_is_over(start_server: StartServer, held: Ear) -> None:
    server = start_server(MOH_DRAIN="1s").ready()
    with Phone(server.address) as phone:
        phone.call(held.address)
        server.terminate()
        assert "server stops" in phone.await_request("BYE").get("reason")
        assert server.exit_status() == 0


def test_the_server_stops_though_a_caller_is_gone(start_server: StartServer, held: Ear) -> None:
    server = start_server().ready()
    with Phone(server.address) as phone:
        phone.call(held.address)
    server.terminate()
    assert server.exit_status() == 0
    assert server.log.endswith("stopped\n")


def test_a_second_signal_while_the_server_stops_changes_nothing(start_server: StartServer, held: Ear) -> None:
    server = start_server().ready()
    with Phone(server.address) as phone:
        phone.call(held.address)
        server.terminate()
        server.process.send_signal(signal.SIGINT)
        phone.await_request("BYE")
        assert server.exit_status() == 0
        assert "Traceback" not in server.log


def test_the_server_stops_in_order_during_a_flood_of_requests(start_server: StartServer) -> None:
    """Busy workers must not run on while the interpreter shuts down."""
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


def test_kill_9_leaves_no_ffmpeg(start_server: StartServer, held: Ear) -> None:
    server = start_server().ready()
    with Phone(server.address) as phone:
        port = phone.call(held.address).media[1]
        held.packets(1)
        ffmpegs = server.ffmpegs
        assert len(ffmpegs) == 1
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(is_running, ffmpegs)), "the end of the server's ffmpeg")
        assert held.falls_silent()
    assert is_free(port)
