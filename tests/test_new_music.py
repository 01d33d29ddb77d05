"""New music in a running server: end-to-end, with real sockets and ffmpeg."""

from __future__ import annotations

import math
import signal
import wave
from pathlib import Path

from conftest import StartServer
from tests.phone import Ear, Packet, Phone
from tests.running import Running

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


def test_calls_in_progress_keep_their_tune_and_the_next_one_hears_the_new(
    start_server: StartServer, tmp_path: Path
) -> None:
    music = tmp_path / "music.wav"
    tone(music, 400)
    server = start_server(MOH_MUSIC=str(music)).ready()
    ears = [Ear("127.0.0.2") for _ in range(CALLS)]
    phones = [called(server, ear) for ear in ears]
    heard = [ear.packets(5) for ear in ears]

    tone(music, 800)
    server.says("new music, for the next callers")
    with Ear("127.0.0.3") as late:
        phones.append(called(server, late))
        assert sounds(late.packets(30), 800)
    for ear, before in zip(ears, heard):
        packets = before + ear.packets(30)
        assert no_jump(packets) and sounds(packets, 400)

    music.write_text("garbage")
    server.says("the new music is refused, the former plays on")
    with Ear("127.0.0.3") as later:
        phones.append(called(server, later))
        assert sounds(later.packets(30), 800)
    for phone in phones:
        assert phone.bye().status == 200
        phone.socket.close()
    for ear in ears:
        ear.__exit__()
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
