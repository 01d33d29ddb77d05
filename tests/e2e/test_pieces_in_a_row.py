"""End to end: the pieces of a folder follow each other without a gap or a click, at one loudness, by both engines."""

from __future__ import annotations

import math
import wave
from array import array
from itertools import groupby
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.peers import sound
from tests.support.phone import Ear, Phone, has_no_gap
from tests.support.tones import all_ready, strongest

TONES = (400.0, 730.0, 1010.0)
"""The tones of the pieces, from the one whose file is played first."""
LEVELS = (0.9, 0.02, 0.2)
SECONDS = 1.5
WINDOW = 160
"""Samples of 20 ms, in which there are whole periods of all tones."""


def write_piece(file: Path, hertz: float, level: float) -> None:
    samples = [round(32767 * level * math.sin(2 * math.pi * hertz * n / 16_000)) for n in range(int(16_000 * SECONDS))]
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(array("h", samples).tobytes())


@pytest.mark.parametrize("calls", ["1", "0"], ids=["ffmpeg", "shared"])
def test_pieces_follow_each_other_without_a_gap_or_a_click(
    start_server: StartServer, tmp_path: Path, calls: str
) -> None:
    row = tmp_path / "music" / "row"
    row.mkdir(parents=True)
    for name, hertz, level in zip(("1.wav", "2.wav", "10.wav"), TONES, LEVELS):
        write_piece(row / name, hertz, level)
    server = all_ready(start_server(MOH_MUSIC=str(row.parent), MOH_FFMPEG_CALLS=calls).ready(), 1)
    assert "3 pieces in a row, without gaps" in server.log
    with Phone(server.address) as phone, Ear("127.0.0.2") as ear:
        phone.uri = f"sip:row@127.0.0.1:{server.port}"
        phone.call(ear.address)
        packets = ear.packets(250)
        assert phone.bye().status == 200
    assert has_no_gap(packets)
    heard = sound(packets)
    order = [
        tone for tone, _ in groupby(strongest(heard[at : at + 400], TONES) for at in range(0, 39_600, 400)) if tone
    ]
    first = TONES.index(order[0])
    assert order[:4] == [*TONES[first:], *TONES[:first], TONES[first]]
    levels = [math.sqrt(sum(v * v for v in heard[at : at + WINDOW]) / WINDOW) for at in range(0, 40_000, WINDOW)]
    usual = sorted(levels)[len(levels) // 2]
    assert 20 * math.log10(max(levels) / usual) < 3.5 and 20 * math.log10(min(levels) / usual) > -3.5
    steepest = 2 * math.pi * TONES[-1] / 8000 * usual * math.sqrt(2)  # from sample to sample of the highest tone
    assert max(abs(after - before) for before, after in zip(heard, heard[1:])) < 1.5 * steepest
