"""End to end: the owner gives a running server new music."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path
from typing import Optional

import pytest

from conftest import StartServer
from tests.support.phone import Ear, Packet, Phone
from tests.support.running import ROOT, Running, wait_for

CALLS = 20


def tone(path: Path, hertz: int) -> None:
    """Replace the music at ``path`` by 2 s of a tone of ``hertz``."""
    samples = (int(8000 * math.sin(2 * math.pi * hertz * n / 8000)) for n in range(16_000))
    with wave.open(str(path.with_suffix(".new")), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    path.with_suffix(".new").rename(path)


def crossings(packets: list[Packet]) -> float:
    """Return the sign changes a second, which are twice the pitch. The top bit of a PCMU octet is the sign."""
    signs = [octet >> 7 for packet in packets for octet in packet.payload]
    return sum(a != b for a, b in zip(signs, signs[1:])) * 8000 / len(signs)


def has_pitch(packets: list[Packet], hertz: int) -> bool:
    return abs(crossings(packets) / 2 - hertz) < 40


def in_sequence(packets: list[Packet]) -> bool:
    return all((b.sequence - a.sequence) % 65536 == 1 for a, b in zip(packets, packets[1:]))


def call(server: Running, ear: Ear) -> Phone:
    phone = Phone(server.address)
    phone.call(ear.address)
    return phone


class Receivers:
    """Many receivers, and a thread that reads their packets, so that no socket buffer overflows."""

    def __init__(self, count: int) -> None:
        self.ears = [Ear("127.0.0.2") for _ in range(count)]
        self.received: list[list[Packet]] = [[] for _ in self.ears]
        self._closed = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closed:
            for ear, received in zip(self.ears, self.received):
                received += ear.waiting()
            time.sleep(0.005)

    def all_receive(self, count: int) -> None:
        """Wait until each receiver has got ``count`` more packets."""
        wanted = [len(received) + count for received in self.received]
        wait_for(
            lambda: all(len(received) >= more for received, more in zip(self.received, wanted)),
            "music at each receiver",
            30,
        )

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        for ear in self.ears:
            ear.__exit__()


def test_calls_in_progress_keep_their_tune_and_the_next_call_gets_the_new_one(
    start_server: StartServer, tmp_path: Path
) -> None:
    music = tmp_path / "music.wav"
    tone(music, 400)
    server = start_server(MOH_MUSIC=str(music)).ready()
    receivers = Receivers(CALLS)
    try:
        phones = [call(server, ear) for ear in receivers.ears]
        receivers.all_receive(5)

        tone(music, 800)
        server.says("new music, for the next callers")
        with Ear("127.0.0.3") as late:
            phones.append(call(server, late))
            assert has_pitch(late.packets(30), 800)

        music.write_text("garbage")
        server.says("the new music is refused, the former plays on")
        with Ear("127.0.0.3") as later:
            phones.append(call(server, later))
            assert has_pitch(later.packets(30), 800)
        receivers.all_receive(20)
        for phone in phones:
            assert phone.bye().status == 200
            phone.socket.close()
    finally:
        receivers.close()
    for received in receivers.received:
        assert in_sequence(received) and has_pitch(received, 400)
    assert server.has_no_ffmpeg()


@pytest.mark.parametrize(
    ("bad", "why"),
    [(None, "No such file or directory"), ("folder", "a folder"), ("", "an empty file"), ("garbage", "expected")],
    ids=["missing", "folder", "empty", "garbage"],
)
def test_a_start_with_bad_music_plays_the_built_in_piece_until_it_is_mended(
    start_server: StartServer, tmp_path: Path, held: Ear, bad: Optional[str], why: str
) -> None:
    music = tmp_path / "music.wav"
    if bad == "folder":
        music.mkdir()
    elif bad is not None:
        music.write_text(bad)
    server = start_server(MOH_MUSIC=str(music)).ready()
    (error,) = [line for line in server.log.splitlines() if " ERROR " in line]
    assert f"Cannot play '{music}'" in error and why in error
    assert error.endswith(". The built-in piece plays until the server can play your music")
    assert f"ready: sip:123@127.0.0.1:{server.port}, music the built-in piece (48 s)" in server.log
    with call(server, held) as phone:
        assert not has_pitch(held.packets(30), 2000), "music, but not the owner's"
        assert phone.options().status == 200
        assert phone.bye().status == 200
    assert health(server) == (1, f"Cannot play '{music}'")

    if bad == "folder":
        music.rmdir()
    tone(music, 2000)
    server.says("new music, for the next callers")
    assert health(server)[0] == 0
    with Ear("127.0.0.3") as late, call(server, late) as phone:
        assert has_pitch(late.packets(30), 2000)
        assert phone.bye().status == 200


def health(server: Running) -> tuple[int, str]:
    """Return the exit status of the health check, and what it says of the music."""
    ran = subprocess.run(
        [sys.executable, str(ROOT / "test_udp.py"), f"127.0.0.1:{server.port}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = re.search(r"something is wrong: (Cannot play '[^']*')", ran.stdout)
    return ran.returncode, said[1] if said else ""


def test_while_the_music_is_converted_callers_hear_the_built_in_piece(
    start_server: StartServer, tmp_path: Path, held: Ear
) -> None:
    music = tmp_path / "slow.wav"
    tone(music, 2000)
    slow = tmp_path / "bin"
    slow.mkdir()
    wait = f"case $* in *slow.wav*) while [ ! -e {tmp_path}/go ]; do sleep 0.05; done;; esac"
    (slow / "ffmpeg").write_text(f'#!/bin/sh\n{wait}\nexec {shutil.which("ffmpeg")} "$@"\n')
    (slow / "ffmpeg").chmod(0o755)
    server = start_server(MOH_MUSIC=str(music), PATH=f"{slow}:{os.environ['PATH']}")
    wait_for(lambda: health(server)[0] == 0, "the built-in piece", 30)
    with call(server, held) as phone:
        assert not has_pitch(held.packets(30), 2000)
        assert "ready: " not in server.log
        (tmp_path / "go").touch()
        server.ready()
        assert server.log.index("music: slow.wav (2 s), converted in") < server.log.index("ready: ")
        with Ear("127.0.0.3") as late, call(server, late) as other:
            assert has_pitch(late.packets(30), 2000)
            assert other.bye().status == 200
        held.waiting()
        assert not has_pitch(held.packets(30), 2000), "a call keeps its tune"
        assert phone.bye().status == 200


def test_a_call_that_is_held_and_resumed_keeps_its_tune(start_server: StartServer, tmp_path: Path) -> None:
    music = tmp_path / "music.wav"
    tone(music, 400)
    server = start_server(MOH_MUSIC=str(music)).ready()
    with Ear("127.0.0.2") as ear, call(server, ear) as phone:
        ear.packets(5)
        assert phone.ask(phone.invite(ear.address).replace(b"a=recvonly", b"a=inactive")).status == 200
        phone.ack()
        assert ear.falls_silent()
        tone(music, 800)
        server.process.send_signal(signal.SIGHUP)
        server.says("new music, for the next callers")
        phone.call(ear.address)
        assert has_pitch(ear.packets(30), 400)
        phone.bye()


def test_other_content_of_equal_size_and_time_is_heard(start_server: StartServer, tmp_path: Path) -> None:
    """As after ``cp -p``, ``rsync -t`` or a checkout that sets times. Touching the file changes nothing."""
    music = tmp_path / "music.wav"
    tone(music, 400)
    os.utime(music, (1e9, 1e9))
    server = start_server(MOH_MUSIC=str(music)).ready()
    tone(music, 800)
    os.utime(music, (1e9, 1e9))
    server.says("new music, for the next callers")
    with Ear("127.0.0.2") as ear, call(server, ear) as phone:
        assert has_pitch(ear.packets(30), 800)
        os.utime(music, (2e9, 2e9))
        server.says("the music is unchanged: music.wav (2 s)")
        assert server.log.count("new music") == 1
        phone.bye()


def test_a_copy_that_pauses_is_not_played_half(start_server: StartServer, tmp_path: Path) -> None:
    """The copy stands still for eight seconds. Its first half has a second of sound, and is not to be heard."""
    music, whole = tmp_path / "music.wav", tmp_path / "whole.wav"
    tone(music, 400)
    server = start_server(MOH_MUSIC=str(music)).ready()
    tone(whole, 800)
    octets = whole.read_bytes()
    with music.open("wb", buffering=0) as copy:
        copy.write(octets[: len(octets) // 2])
        time.sleep(8)
        copy.write(octets[len(octets) // 2 :])
    log = server.says("new music, for the next callers: music.wav (2 s)")
    assert "breaks off" not in log and log.count("new music") == 1


def test_many_signals_at_once_reload_the_music_and_the_server_goes_on(start_server: StartServer) -> None:
    """A second signal comes while the same thread runs the handler of the first one."""
    server = start_server().ready()
    for _ in range(200_000):
        os.kill(server.process.pid, signal.SIGHUP)
    server.says("the music is unchanged: ")
    with Phone(server.address) as phone:
        assert phone.options().status == 200
    server.terminate()
    assert server.exit_status() == 0, server.log[-3000:]
