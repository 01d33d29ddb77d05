"""Compose "Hold, please": the music that callers hear where the owner has set none.

The piece is original, made from nothing but the score below: no samples, no borrowed tune. It is dedicated
to the public domain (CC0 1.0). It is written for a telephone, which passes 300 to 3400 Hz only:

- the melody's fundamentals lie between 460 and 1050 Hz, the chords' between 220 and 470 Hz;
- the bass is rich in harmonics, since the ear hears from them the fundamental that the line removes;
- attacks are soft, nothing trembles, nothing rings above 4 kHz, loud and quiet lie close together.

It is 16 bars of 4/4 in F major, in the form A A' B A'': A ends half-way, on the dominant; A' answers and
comes home; B descends in a sequence; A'' comes home and turns at once to the dominant, which leads into A.
So the end leads to the beginning, and the sound does the same: time is a circle here. A note that outlasts the
last bar sounds on in the first, every oscillator makes a whole number of turns per loop, and so does the reverb.

Usage: ``python3 tools/compose_piece.py [OUT.mp3]`` (default: ``moh/builtin.mp3``); needs ffmpeg with
libmp3lame, and some twenty seconds. The same script gives the same samples every time.
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TITLE, ARTIST = "Hold, please", "Music on hold"
LICENCE = "CC0 1.0: dedicated to the public domain, https://creativecommons.org/publicdomain/zero/1.0/"

RATE = 44100  # samples per second
BEAT = 33075  # samples per beat: 0.75 s, 80 beats per minute
BARS = 16
LOOP = BARS * 4 * BEAT  # samples in the loop: 48 s
TARGET_RMS = 10 ** (-19.5 / 20)  # of full scale; LAME takes some 0.45 dB off
PEAK_LIMIT = 10 ** (-3 / 20)  # of full scale
HIGHEST_PARTIAL = 4000.0  # Hz; the telephone passes nothing above 3400
TABLE = 4096  # samples in an oscillator's table

# The score. A bar stands between two "|"; "C5:1.5" is a pitch and its length in beats, "-" is a rest.
MELODY = """
  C5:1.5 F5:.5 A5:2             | F5:1.5 E5:.5 D5:2        | D5:1.5 F5:.5 A5:1 G5:1     | G5:2 E5:1 D5:1
| C5:1.5 F5:.5 A5:2             | G5:1.5 A5:.5 E5:2        | D5:1 F5:1 E5:1 G5:1        | F5:3 -:1
| -:.5 D5:.5 F5:.5 Bb5:.5 A5:2  | -:.5 C5:.5 E5:.5 A5:.5 G5:2
| -:.5 Bb4:.5 D5:.5 G5:.5 F5:1 G5:.5 A5:.5                 | Bb5:2 G5:1 E5:1
| C5:1.5 F5:.5 A5:2             | C6:1.5 A5:.5 F5:2        | Bb5:1 A5:.5 G5:.5 F5:1 E5:1 | F5:3 D5:1
"""
COUNTER = """
  A4:2 -:2                      | -:2 A4:2                 | -:4                        | -:4
| A4:2 C5:2                     | -:2 C5:2                 | -:4                        | -:2 A4:1 C5:1
| -:2 F5:2                      | -:2 E5:2                 | -:2 D5:2                   | G5:2 E5:1 C5:1
| -:2 C5:2                      | F5:2 D5:2                | D5:2 C5:2                  | A4:2 Bb4:2
"""
BASS = """
  F3:2 A2:1 C3:1                | D3:2 A2:1 C3:1           | Bb2:2 F3:1 D3:1            | C3:2 C3:1 E3:1
| F3:2 C3:1 Bb2:1               | A2:2 E3:1 A2:1           | G2:2 C3:1 E3:1             | F3:2 C3:1 A2:1
| Bb2:2 F3:1 Bb2:1              | A2:2 E3:1 A2:1           | G2:2 D3:2                  | C3:2 C3:1 E3:1
| F3:2 C3:2                     | D3:2 A2:2                | G2:2 C3:2                  | F3:2 C3:2
"""
# Four voices, joined by "+": each moves by a step or stays, where it can.
CHORDS = """
  A3+C4+F4+A4:4                 | C4+D4+F4+A4:4            | Bb3+D4+F4+A4:4    | Bb3+D4+F4+G4:2 Bb3+D4+E4+G4:2
| A3+C4+F4+G4:4                 | A3+C4+E4+G4:4            | Bb3+D4+F4+G4:2 Bb3+D4+E4+G4:2     | A3+C4+F4+A4:4
| Bb3+D4+F4+A4:4                | C4+E4+G4+A4:4            | D4+F4+G4+Bb4:4    | D4+F4+G4+Bb4:2 C4+E4+G4+Bb4:2
| C4+F4+G4+A4:4                 | C4+D4+F4+A4:4            | Bb3+D4+F4+G4:2 Bb3+C4+F4+G4:1 Bb3+C4+E4+G4:1
| A3+C4+F4+A4:2 Bb3+D4+F4+G4:2
"""
# Which voice of the chord (0 the lowest) is plucked on each half beat, for each bar; "." is a rest.
PLUCKS = """
  .213.212 .213.121 .213.212 .213.232
  .2132312 .2132312 .213.213 .2132132
  0...1323 0...1323 0...1323 0.2.1323
  02132312 02132312 .213.213 .2132123
"""


@dataclass(frozen=True)
class Voice:
    """An instrument: how its notes begin, ring and end, and what they are made of.

    ``body`` and ``edge`` are the amplitudes of the partials, the fundamental's first; the edge fades within
    ``edge_decay`` seconds after the attack, so that a note grows mellower as it rings. ``attack``, ``decay``
    and ``release`` are in seconds (a decay of 0 holds the level); ``gain`` is linear.
    """

    gain: float
    attack: float
    decay: float
    release: float
    body: tuple[float, ...]
    edge: tuple[float, ...] = ()
    edge_decay: float = 0.3


LEAD = Voice(0.47, 0.035, 3.0, 0.22, (1, 0.42, 0.24, 0.12, 0.06), (0, 0.30, 0.28, 0.20, 0.10), 0.4)
ANSWER = Voice(0.23, 0.070, 4.0, 0.30, (1, 0.12, 0.36, 0.08, 0.14))
PLUCK = Voice(0.27, 0.012, 0.8, 0.25, (1, 0.45, 0.25, 0.15, 0.08), (0, 0.3, 0.3, 0.25, 0.2, 0.15, 0.1), 0.25)
LOW = Voice(0.30, 0.025, 1.8, 0.20, (0.9, 0.9, 0.8, 0.55, 0.35, 0.22, 0.12, 0.07))
PAD = Voice(0.085, 0.350, 0.0, 0.40, (1, 0.62, 0.42, 0.30, 0.24, 0.18, 0.13, 0.09))


@dataclass(frozen=True)
class Note:
    """Pitches that sound together (MIDI numbers), from beat ``start`` of the loop, for ``length`` beats."""

    pitches: tuple[int, ...]
    start: float
    length: float


def midi(name: str) -> int:
    """Give the MIDI number of a pitch such as ``Bb4`` (A4 is 69)."""
    natural = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]]
    return natural - (name[1] == "b") + 12 * (int(name[-1]) + 1)


def parse(part: str) -> list[Note]:
    """Read a part of the score; every bar must have four beats, and there must be ``BARS`` of them."""
    notes: list[Note] = []
    bars = part.replace("\n|", "|").replace("\n", "|").strip("|").split("|")
    if len(bars) != BARS:
        raise ValueError(f"{len(bars)} bars instead of {BARS}: {part}")
    for number, bar in enumerate(bars):
        beat = 0.0
        for word in bar.split():
            names, length = word.split(":")
            if names != "-":
                pitches = tuple(midi(name) for name in names.split("+"))
                notes.append(Note(pitches, 4 * number + beat, float(length)))
            beat += float(length)
        if beat != 4:
            raise ValueError(f"bar {number + 1} has {beat} beats: {bar}")
    return notes


def chord_at(chords: list[Note], beat: float) -> tuple[int, ...]:
    """Give the pitches of the chord that sounds at ``beat``."""
    return next(c.pitches for c in chords if c.start <= beat < c.start + c.length)


def plucked(chords: list[Note]) -> Iterator[Note]:
    """Break the chords up into half beats, as ``PLUCKS`` says; each rings on for a beat."""
    for half, voice in enumerate("".join(PLUCKS.split())):
        if voice != ".":
            yield Note((chord_at(chords, half / 2)[int(voice)],), half / 2, 1.0)


def check_harmony(melody: list[Note], chords: list[Note], bass: list[Note]) -> None:
    """Refuse a score whose melody leaves the chord, or rubs against it, on a beat that is heard as strong.

    Strong are beats 1 and 3, and any note of a beat and a half or more. The melody must there be in the chord
    or be its root (which the bass has), and no semitone or minor ninth may lie between them.
    """
    for note in melody:
        if note.start % 2 and note.length < 1.5:
            continue
        root = next(b.pitches[0] for b in bass if b.start <= note.start < b.start + b.length)
        chord = (*chord_at(chords, note.start), root)
        pitch = note.pitches[0]
        if all((pitch - other) % 12 for other in chord) or any(abs(pitch - o) in (1, 13) for o in chord):
            raise ValueError(f"the melody's {pitch} on beat {note.start} does not fit the chord {chord}")


@cache
def table(partials: tuple[float, ...], count: int) -> array[float]:
    """Make one turn of a wave from its first ``count`` partials, with scattered (but fixed) phases."""
    dice = random.Random(1)
    phases = [dice.random() for _ in partials]
    wave = array("d", bytes(8 * TABLE))
    for k in range(min(count, len(partials))):
        for i in range(TABLE):
            wave[i] += partials[k] * math.sin(2 * math.pi * ((k + 1) * i / TABLE + phases[k]))
    return wave


@cache
def envelope(voice: Voice, held: int) -> array[float]:
    """Give the level of a note that is held for ``held`` samples, sample by sample, its release included."""
    attack, release = int(voice.attack * RATE), int(voice.release * RATE)
    fade = math.exp(-1 / (voice.decay * RATE)) if voice.decay else 1.0
    levels, level = array("d"), voice.gain
    for i in range(held + release):
        level *= fade
        shape = 0.5 - 0.5 * math.cos(math.pi * min(1.0, i / attack))
        if i >= held:
            shape *= 0.5 + 0.5 * math.cos(math.pi * (i - held) / release)
        levels.append(level * shape)
    return levels


def play(mix: list[float], voice: Voice, pitch: int, start: int, held: int, level: float, cents: float = 0) -> None:
    """Add one note to the loop: from sample ``start``, for ``held`` samples and the release, round the end.

    ``pitch`` is a MIDI number, ``level`` a linear factor. The frequency is rounded to whole turns per loop
    (by at most 0.011 Hz) and the phase taken from the place in the loop, so that a pitch which two chords
    share goes on without a break, at the seam too.
    """
    frequency = 440 * 2 ** ((pitch - 69 + cents / 100) / 12)
    step = round(frequency * LOOP / RATE) * TABLE / LOOP
    count = int(HIGHEST_PARTIAL / frequency)
    body, edge = table(voice.body, count), table(voice.edge, count)
    edge_fade = math.exp(-1 / (voice.edge_decay * RATE))
    phase, bite, mask = start % LOOP * step, level, TABLE - 1
    for i, gain in enumerate(envelope(voice, held), start - LOOP):
        at = int(phase) & mask
        mix[i % LOOP] += gain * (level * body[at] + bite * edge[at])
        phase += step
        bite *= edge_fade


def perform(parts: list[tuple[Voice, list[Note]]]) -> list[float]:
    """Play all parts into a loop of ``LOOP`` samples, with a player's small unevenness (seeded)."""
    dice = random.Random(1)
    mix = [0.0] * LOOP
    for voice, notes in parts:
        for note in notes:
            for pitch in note.pitches:
                start = round(note.start * BEAT + dice.uniform(-0.006, 0.006) * RATE)
                held, level = round(note.length * BEAT), dice.uniform(0.94, 1.06)
                play(mix, voice, pitch, start, held, level)
                if voice is PAD:  # a second, quieter player, slightly flat: slow movement in the chords
                    play(mix, voice, pitch, start, held, level * 0.5, cents=-3)
    return mix


def reverberate(dry: list[float]) -> list[float]:
    """Give the dry loop a small, dark room (it rings for about a second and a half).

    Every filter starts four seconds before the beginning: Python's negative indices are those of the loop's
    end, so what rings there has been heard by the filter, and rings on over the beginning.
    """
    lead_in, wet = -4 * RATE, [0.0] * LOOP
    for delay in (1309, 1637, 1811, 1931, 2113):  # parallel combs, in samples, each damped in its treble
        feedback = 10 ** (-3 * delay / (1.5 * RATE))
        out, low = [0.0] * LOOP, 0.0
        for i in range(lead_in, LOOP):
            low += 0.6 * (out[i - delay] - low)
            out[i] = dry[i] + feedback * low
        wet = [a + b for a, b in zip(wet, out)]
    for delay in (241, 83):  # all-passes in series thicken the echoes
        out = [0.0] * LOOP
        for i in range(lead_in, LOOP):
            out[i] = wet[i - delay] + 0.6 * (out[i - delay] - wet[i])
        wet = out
    return [a + 0.07 * b for a, b in zip(dry, wet)]


def turned(loop: list[float]) -> list[float]:
    """Turn the loop so that it begins up to 0.25 s before bar 1, where the wave is flat and near zero.

    The encoder adds silence before and after the file, so a wave that is cut at its height would click there.
    """

    def roughness(i: int) -> float:
        before, here, after = loop[i - 1], loop[i], loop[i + 1]
        return max(abs(here), 10 * abs(after - before), 100 * abs(before - 2 * here + after))

    first = min(range(-RATE // 4, -1), key=roughness)
    return loop[first:] + loop[:first]


def samples(mix: list[float]) -> array[int]:
    """Bring the loop to ``TARGET_RMS``, as 16 bit samples; refuse one whose peaks reach ``PEAK_LIMIT``."""
    gain = TARGET_RMS / math.sqrt(math.fsum(x * x for x in mix) / LOOP)
    peak = gain * max(abs(x) for x in mix)
    print(f"{LOOP} samples ({LOOP / RATE:.1f} s), peak {20 * math.log10(peak):.1f} dBFS before encoding")
    if peak >= PEAK_LIMIT:
        raise ValueError("the peaks are too high")
    return array("h", (round(32767 * gain * x) for x in mix))


def encode(loop: array[int], out: Path) -> None:
    """Write the loop as an MP3 whose LAME tag tells a decoder which padding to leave out."""
    tags = {"title": TITLE, "artist": ARTIST, "comment": LICENCE, "genre": "Easy Listening"}
    raw = f"s16{sys.byteorder[0]}e"  # 16 bit samples, as this machine writes them: s16le or s16be
    command = ["ffmpeg", "-v", "error", "-y", "-f", raw, "-ar", str(RATE), "-ac", "1", "-i", "pipe:0"]
    for key, value in tags.items():
        command += ["-metadata", f"{key}={value}"]
    command += ["-c:a", "libmp3lame", "-b:a", "64k", "-write_xing", "1", "-id3v2_version", "3", str(out)]
    subprocess.run(command, input=loop.tobytes(), check=True)


def main() -> None:
    """Compose, perform and encode the piece."""
    default = Path(__file__).resolve().parent.parent / "moh" / "builtin.mp3"
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    melody, counter, bass, chords = (parse(part) for part in (MELODY, COUNTER, BASS, CHORDS))
    check_harmony(melody, chords, bass)
    parts = [(PAD, chords), (LOW, bass), (PLUCK, list(plucked(chords))), (ANSWER, counter), (LEAD, melody)]
    encode(samples(turned(reverberate(perform(parts)))), out)


if __name__ == "__main__":
    main()
