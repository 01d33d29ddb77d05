"""New music in a running server: end-to-end, with real sockets and ffmpeg."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import wave
from pathlib import Path

from conftest import StartServer
from tests.support.phone import Ear, Packet, Phone
from tests.support.running import Running, wait_for

CALLS = 20


def tone(path: Path, hertz: int) -> None:
    """A tone for music, in place of what was there: 2 s of it."""
    samples = (int(8000 * math.sin(2 * math.pi * hertz * n / 8000)) for n in range(16_000))
    with wave.open(str(path.with_suffix(".new")), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    path.with_suffix(".new").rename(path)


def crossings(packets: list[Packet]) -> float:
    """How often a second the sound changes its sign: twice its pitch. The top bit of a PCMU octet is the sign."""
    signs = [octet >> 7 for packet in packets for octet in packet.payload]
    return sum(a != b for a, b in zip(signs, signs[1:])) * 8000 / len(signs)


def sounds(packets: list[Packet], hertz: int) -> bool:
    return abs(crossings(packets) / 2 - hertz) < 40


def no_jump(packets: list[Packet]) -> bool:
    return all((b.sequence - a.sequence) % 65536 == 1 for a, b in zip(packets, packets[1:]))


def called(server: Running, ear: Ear) -> Phone:
    phone = Phone(server.address)
    phone.call(ear.address)
    return phone


class Audience:
    """Many ears, and a thread that takes in what they hear: nobody's packets pile up unheard."""

    def __init__(self, count: int) -> None:
        self.ears = [Ear("127.0.0.2") for _ in range(count)]
        self.heard: list[list[Packet]] = [[] for _ in self.ears]
        self._over = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over:
            for ear, heard in zip(self.ears, self.heard):
                heard += ear.waiting()
            time.sleep(0.005)

    def everybody_hears(self, count: int) -> None:
        """Wait until each has heard so many packets more."""
        wanted = [len(heard) + count for heard in self.heard]
        wait_for(lambda: all(len(heard) >= more for heard, more in zip(self.heard, wanted)), "music for all", 30)

    def leave(self) -> None:
        self._over = True
        self._thread.join()
        for ear in self.ears:
            ear.__exit__()


def test_calls_in_progress_keep_their_tune_and_the_next_one_hears_the_new(
    start_server: StartServer, tmp_path: Path
) -> None:
    music = tmp_path / "music.wav"
    tone(music, 400)
    server = start_server(MOH_MUSIC=str(music)).ready()
    audience = Audience(CALLS)
    try:
        phones = [called(server, ear) for ear in audience.ears]
        audience.everybody_hears(5)

        tone(music, 800)
        server.says("new music, for the next callers")
        with Ear("127.0.0.3") as late:
            phones.append(called(server, late))
            assert sounds(late.packets(30), 800)

        music.write_text("garbage")
        server.says("the new music is refused, the former plays on")
        with Ear("127.0.0.3") as later:
            phones.append(called(server, later))
            assert sounds(later.packets(30), 800)
        audience.everybody_hears(20)
        for phone in phones:
            assert phone.bye().status == 200
            phone.socket.close()
    finally:
        audience.leave()
    for heard in audience.heard:
        assert no_jump(heard) and sounds(heard, 400)
    assert server.has_no_ffmpeg()


def test_held_and_resumed_a_call_still_hears_its_own_tune(start_server: StartServer, tmp_path: Path) -> None:
    music = tmp_path / "music.wav"
    tone(music, 400)
    server = start_server(MOH_MUSIC=str(music)).ready()
    with Ear("127.0.0.2") as ear, called(server, ear) as phone:
        ear.packets(5)
        assert phone.ask(phone.invite(ear.address).replace(b"a=recvonly", b"a=inactive")).status == 200
        phone.ack()
        assert ear.falls_silent()
        tone(music, 800)
        server.process.send_signal(signal.SIGHUP)
        server.says("new music, for the next callers")
        phone.call(ear.address)
        assert sounds(ear.packets(30), 400)
        phone.bye()


def test_asked_again_and_again_at_once_it_looks_and_goes_on(start_server: StartServer) -> None:
    """A second signal comes while the handler of the first one runs, in the same thread."""
    server = start_server().ready()
    for _ in range(200_000):
        os.kill(server.process.pid, signal.SIGHUP)
    server.says("new music, for the next callers")
    with Phone(server.address) as phone:
        assert phone.options().status == 200
    server.terminate()
    assert server.exit_status() == 0, server.log[-3000:]
