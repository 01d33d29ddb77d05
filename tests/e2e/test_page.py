"""End to end: the page of a real server, with calls that go on."""

from __future__ import annotations

import http.client
import io
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
import wave
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.browser import Got, connections, get
from tests.support.phone import Ear, Packet, Phone, has_no_gap
from tests.support.running import Running, free_ports, is_running, processes, wait_for


def page_of(server: Running) -> int:
    """Return the number of the process of the page."""

    def find() -> int:
        children = [child for child, state, parent in processes() if parent == server.process.pid and state != "Z"]
        return next((child for child in children if "moh.http" in command_of(child)), 0)

    return wait_for(find, "the page")


def command_of(number: int) -> str:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""


class WithPage:
    """A server with a page at ``port``."""

    def __init__(self, start: StartServer, **settings: str) -> None:
        self.port = free_ports(1)
        self.server: Running = start(MOH_HTTP=f"127.0.0.1:{self.port}", **settings)
        self.server.says(f"page: http://127.0.0.1:{self.port}/")
        self.server.ready()

    @property
    def calls(self) -> int:
        state = get(self.port, "/state.json").json
        return int(state["calls"]["now"])


@pytest.fixture
def page(start_server: StartServer) -> Iterator[WithPage]:
    yield WithPage(start_server, MOH_FFMPEG_CALLS="1")


def test_the_page_shows_a_call_and_how_it_ended(page: WithPage, held: Ear) -> None:
    with Phone(page.server.address) as phone:
        assert page.calls == 0
        phone.call(held.address)
        held.packets(1)
        wait_for(lambda: page.calls == 1, "the call")
        (row,) = get(page.port, "/state.json").json["calls"]["listed"]
        assert (row["codec"], row["receiver"]) == ("PCMU", f"127.0.0.2:{held.address[1]}")
        phone.bye()
        wait_for(lambda: page.calls == 0, "its end")
        (ended,) = get(page.port, "/state.json").json["ended"]
        assert ended["reason"] == "BYE"
    assert "moh_calls_ended_total" in get(page.port, "/metrics").text
    assert (get(page.port, "/healthz").status, get(page.port, "/readyz").status) == (200, 200)


def player(port: int, name: str) -> Got:
    """Return the player of a codec, when it is made."""
    wait_for(lambda: get(port, f"/music/{name}.wav").status == 200, f"the player for {name}")
    return get(port, f"/music/{name}.wav")


def test_the_page_plays_the_music_of_each_codec(page: WithPage) -> None:
    for name, rate in (("pcmu", 8000), ("pcma", 8000), ("g722", 16000), ("opus", 16000)):
        got = player(page.port, name)
        with wave.open(io.BytesIO(got.body)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2)
            assert file.getnframes() / rate == pytest.approx(48.0, abs=0.5), "the built-in piece"
        part = get(page.port, f"/music/{name}.wav", Range="bytes=-100")
        assert (part.status, part.body) == (206, got.body[-100:])
    wave_form = get(page.port, "/music/waveform.json").json
    assert len(wave_form["peaks"]) == 400 and max(wave_form["peaks"]) > 0.1


def test_no_key_is_on_the_page(page: WithPage, held: Ear) -> None:
    key = secrets.token_hex(15)[:30] + "AAAAAAAAAA"
    with Phone(page.server.address) as phone:
        body = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n"
            f"m=audio {held.address[1]} RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\na=recvonly\r\n"
        )
        answer = phone.call_with(body)
        own = answer.body.partition("inline:")[2].split()[0]
        wait_for(lambda: page.calls == 1, "the call")
        shown = get(page.port, "/state.json").text
        assert '"encrypted": true' in shown
        for secret in (key, own[:20]):
            assert secret not in shown
        phone.bye()


def test_hostile_browsers_get_clear_answers_and_no_call_is_disturbed(page: WithPage) -> None:
    """A thousand connections, slow requests, foreign hosts and long headers, while two calls count their packets."""
    with (
        Ear("127.0.0.2") as first,
        Ear("127.0.0.3") as second,
        Phone(page.server.address) as own,
        Phone(page.server.address) as shared,
    ):
        own.call(first.address)
        shared.call(second.address)
        heard = {first: first.packets(1), second: second.packets(1)}
        began = time.monotonic()
        done = threading.Event()
        threads = [threading.Thread(target=_listen, args=(heard, done))]
        threads[0].start()
        with connections(page.port, 1000) as open_ones:
            threads.append(threading.Thread(target=_drip, args=(open_ones[-50:], done)))
            threads[1].start()
            assert get(page.port, "/", Host="evil.example").status == 421
            assert get(page.port, "/", Host="127.0.0.1", X="a" * 30_000).status == 431
            assert get(page.port, "/state.json", Origin="http://evil.example").status == 403
            assert get(page.port, "/state.json").json["calls"]["now"] == 2
            while time.monotonic() < began + 2:
                assert get(page.port, "/metrics").status == 200
        done.set()
        for thread in threads:
            thread.join()
        for ear, packets in heard.items():
            wait_for(partial(_is_complete, ear, packets, began), "50 packets a second")
            assert has_no_gap(packets)
        assert own.bye().status == shared.bye().status == 200
    assert page_of(page.server), "the same page serves on"
    assert "the page has ended" not in page.server.log


def _is_complete(ear: Ear, packets: list[Packet], began: float) -> bool:
    """Whether as many packets have arrived as time has passed, but for a fifth of a second."""
    packets += ear.waiting()
    return len(packets) >= 50 * (time.monotonic() - began - 0.2)


def _listen(heard: dict[Ear, list[Packet]], stop: threading.Event) -> None:
    """Read what arrives at each ear; the kernel keeps the packets of five seconds only."""
    while not stop.wait(0.05):
        for ear, packets in heard.items():
            packets += ear.waiting()


def _drip(sockets: list[socket.socket], stop: threading.Event) -> None:
    """Send a field of a header on each connection again and again."""
    while not stop.wait(0.05):
        for sock in sockets:
            try:
                sock.sendall(b"X: y\r\n")
            except OSError:
                pass  # the page has closed it


# -- the process ---------------------------------------------------------------------------------------------------


def test_a_port_that_another_program_has_stops_the_start_with_one_line(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = start_server(MOH_HTTP=str(port))
        assert server.exit_status() == 1
    why = "another program uses this port; expected a port that is free, or an empty MOH_HTTP for no page"
    assert server.log == f"Cannot listen on MOH_HTTP 127.0.0.1:{port}: {why}\n"


def test_a_page_that_dies_comes_back_and_its_end_costs_no_call(page: WithPage, held: Ear) -> None:
    with Phone(page.server.address) as phone:
        phone.call(held.address)
        held.packets(1)
        first = page_of(page.server)
        assert os.getpriority(os.PRIO_PROCESS, first) >= 10
        os.kill(first, signal.SIGKILL)
        page.server.says("the page has ended: signal 9. Calls go on; the page starts again in 1 s")
        wait_for(lambda: page.server.log.count("page: http://") == 2, "the second page")
        assert page.calls == 1
        assert has_no_gap(held.waiting())
        assert phone.bye().status == 200


def test_nothing_of_the_page_outlives_a_killed_server(page: WithPage) -> None:
    number = page_of(page.server)
    asker = subprocess.Popen(["sh", "-c", f"sleep 0.02; kill -9 {page.server.process.pid}"], stdin=subprocess.DEVNULL)
    try:
        get(page.port, "/music/opus.wav")  # its ffmpegs run, or are about to
    except (OSError, http.client.HTTPException):
        pass  # the page has ended
    asker.wait()
    wait_for(lambda: not is_running(number), "the end of the page")
    wait_for(lambda: not [1 for each, _, _ in processes() if " pipe:0 " in command_of(each)], "the end of its ffmpegs")


def test_a_server_that_stops_says_so_on_the_page(start_server: StartServer, held: Ear) -> None:
    page = WithPage(start_server, MOH_DRAIN="1h")
    number = page_of(page.server)
    with Phone(page.server.address) as phone:
        phone.call(held.address)
        held.packets(1)
        page.server.terminate()
        os.kill(number, signal.SIGTERM)  # systemd sends it to all processes
        wait_for(lambda: get(page.port, "/readyz").status == 503, "the stop")
        assert get(page.port, "/readyz").text == "the server stops: it takes no more calls\n"
        assert phone.bye().status == 200
    assert page.server.exit_status() == 0
    assert not is_running(number)
    assert "the page has ended" not in page.server.log
