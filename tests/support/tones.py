"""Music of one tone, so that a test can hear which music plays: files with tones, and the strongest tone in packets."""

from __future__ import annotations

import math
import subprocess
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

from moh.net.state_client import read_state
from tests.support.peers import sound
from tests.support.phone import Packet
from tests.support.running import Running, wait_for

CLEARLY = 100.0
"""How much stronger the tone that plays is than any other one, as a ratio of powers: 20 dB."""


def write_tone(file: Path, hertz: float, seconds: float = 4.0) -> None:
    """Write a tone into ``file``, in the format that its suffix names."""
    plain = file.with_suffix(".tone.wav")
    samples = (round(8000 * math.sin(2 * math.pi * hertz * n / 16_000)) for n in range(int(16_000 * seconds)))
    with wave.open(str(plain), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    if file.suffix == ".wav":
        plain.rename(file)
        return
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(plain), str(file)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    plain.unlink()


def power(samples: Sequence[int], hertz: float, rate: int) -> float:
    """The power of one frequency in ``samples`` (the filter of Goertzel)."""
    turn = 2 * math.cos(2 * math.pi * hertz / rate)
    last = before = 0.0
    for sample in samples:
        last, before = sample + turn * last - before, last
    return last * last + before * before - turn * last * before


def strongest(samples: Sequence[int], tones: Iterable[float], rate: int = 8000) -> float:
    """That one of ``tones`` which is clearly the strongest in ``samples``; 0 where none is."""
    found = sorted(((power(samples, tone, rate), tone) for tone in tones), reverse=True)
    return found[0][1] if found[0][0] > CLEARLY * found[1][0] else 0.0


def tone_of(packets: Sequence[Packet], tones: Iterable[float]) -> float:
    """That one of ``tones`` which packets of PCMU or G.722 carry; 0 where none is clearly the strongest."""
    (kind,) = {packet.payload_type for packet in packets}
    if kind == 0:
        return strongest(sound(packets), tones)
    assert kind == 9, f"payload type {kind}"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "g722", "-i", "-", "-f", "s16le", "-"]
    octets = b"".join(packet.payload for packet in packets)
    decoded = subprocess.run(command, input=octets, check=True, capture_output=True).stdout
    samples = [int.from_bytes(decoded[at : at + 2], "little", signed=True) for at in range(0, len(decoded) - 1, 2)]
    return strongest(samples, tones, 16_000)


def names_of(server: Running) -> dict[str, str]:
    """The state of each name of a running server."""
    found = read_state("127.0.0.1", server.port)["names"]
    return {row["name"]: row["state"] for row in found["listed"]} if found else {}


def all_ready(server: Running, count: int) -> Running:
    """Wait until this number of names is ready."""
    wait_for(lambda: [*names_of(server).values()].count("ready") == count, f"{count} names\n{server.log}", 60)
    return server
