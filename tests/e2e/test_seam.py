"""End to end: a phone hears no silence where the music begins again. The RTP that it receives is decoded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import test_sip_client as client
from bench.common.silence import LONGEST, in_telephone_band, longest_silence
from conftest import StartServer
from tests.support.phone import Ear, Packet, Phone

HUM = "aevalsrc='if(lt(t,2),0.4*sin(2*PI*660*t)*(0.6+0.4*sin(12*t)),0.01*sin(2*PI*50*t))':s=44100:d=5"
"""2 s of music, and 3 s of a hum of 50 Hz, which no telephone passes."""


def heard(packets: list[Packet]) -> list[int]:
    """Decode packets of PCMU, in the order of their timestamps."""
    first = packets[0].timestamp
    in_order = sorted(packets, key=lambda packet: (packet.timestamp - first) % 2**32)
    return [client.DECODE["PCMU"][octet] for packet in in_order for octet in packet.payload]


@pytest.mark.parametrize("engine", ["an ffmpeg of its own", "the shared stream"])
def test_a_phone_hears_no_silence_at_the_seam(start_server: StartServer, tmp_path: Path, engine: str) -> None:
    track = tmp_path / "hum.wav"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", HUM, str(track)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    calls = "0" if engine == "the shared stream" else "1"
    server = start_server(MOH_MUSIC=str(track), MOH_FFMPEG_CALLS=calls).ready()
    with Phone(server.address) as phone, Ear("127.0.0.2") as ear:
        phone.call(ear.address)
        samples = heard(ear.packets(220))  # 4.4 s: the loop of 2 s begins again at least twice
        phone.bye()
    assert longest_silence(in_telephone_band(samples, 8000), 8000) <= LONGEST
