"""End to end, by real ffmpeg: no silence is heard where the music begins again, however the owner's file ends.

The silence is measured in the converted files, in the telephone's band, by code that is not the server's.
"""

from __future__ import annotations

import wave
from array import array
from pathlib import Path

import pytest

from bench.common.silence import LONGEST, in_telephone_band, longest_silence, silence_at
from moh.mastering import prepare as music
from moh.mastering.prepare import BUILTIN
from tests.mastering.tracks import make, prepared, samples_of, settings

MUSIC = "0.4*sin(2*PI*660*t)*(0.6+0.4*sin(12*t))"
"""Music without pauses."""
LONG = 3.0
"""Seconds of the music in each of the files."""


def after(rest: str) -> str:
    """The source of a file that ends with 3 s of ``rest``."""
    return f"aevalsrc='if(lt(t,{LONG}),{MUSIC},{rest})':s=44100:d={LONG + 3}"


def around(rest: str) -> str:
    """The source of a file that begins with 1.5 s of ``rest`` and ends with 1.5 s of it."""
    return f"aevalsrc='if(between(t,1.5,{LONG + 1.5}),{MUSIC},{rest})':s=44100:d={LONG + 3}"


def two(left: str, right: str) -> str:
    """The source of a stereo file: 3 s of music in both channels, and then ``left`` and ``right``."""
    return f"aevalsrc='if(lt(t,{LONG}),{MUSIC},{left})|if(lt(t,{LONG}),{MUSIC},{right})':s=44100:d={LONG + 3}"


DITHER = "(random(0)-0.5)/32768*2"
ENDS = {
    "digital silence": ("wav", around("0"), ""),
    "a hum of 50 Hz": ("wav", after("0.01*sin(2*PI*50*t)"), ""),
    "a loud hum of 60 Hz at both ends": ("flac", around("0.2*sin(2*PI*60*t)+0.03*sin(2*PI*120*t)"), ""),
    "a dying bass note": ("wav", after(f"0.5*exp({LONG}-t)*sin(2*PI*55*t)"), ""),
    "a pilot tone of 19 kHz": ("wav", around("0.1*sin(2*PI*19000*t)"), ""),
    "ultrasound": ("wav", after("0.3*sin(2*PI*21500*t)"), ""),
    "a constant offset": ("wav", around("0.2"), ""),
    "dither": ("wav", around(DITHER), ""),
    "hiss": ("wav", after("0.002*(random(0)-0.5)"), ""),
    "the noise of a room": ("wav", around("0.004*(random(0)-0.5)+0.004*sin(2*PI*100*t)"), ""),
    "a record's rumble and dust": ("wav", around("0.05*sin(2*PI*30*t)+0.1*lt(mod(t,0.7),0.001)*(random(0)-0.5)"), ""),
    "the stop key": ("wav", after(f"0.3*between(t,{LONG + 2},{LONG + 2.002})*sin(2*PI*1500*t)"), ""),
    "a reverb": ("mp3", after(f"0.3*exp(4*({LONG}-t))*(random(0)-0.5)"), ""),
    "a fade-out": ("mp3", f"aevalsrc='{MUSIC}':s=44100:d={LONG + 3}", "afade=t=out:st=2:d=4"),
    "a fade-out that falls faster and faster": (
        "mp3", f"aevalsrc='{MUSIC}':s=44100:d={LONG + 3}", "afade=t=out:st=2:d=4:curve=qsin"
    ),
    "a fade-in and a fade-out": (
        "mp3", f"aevalsrc='{MUSIC}':s=44100:d={LONG + 3}", "afade=t=in:d=2,afade=t=out:st=4:d=2:curve=exp"
    ),
    "the padding of an MP3 encoder": ("mp3", f"aevalsrc='{MUSIC}':s=44100:d={LONG}", ""),
    "a tail in one channel": ("wav", two("0", "0.1*sin(2*PI*45*t)"), ""),
    "a tail that the mix cancels": ("wav", two("0.2*sin(2*PI*500*t)", "-0.2*sin(2*PI*500*t)"), ""),
    "noise of A-law": ("wav", around(DITHER), "aresample=8000"),
}  # fmt: skip
"""What is at the ends of a file: file format, source, filter."""


def around_the_seam(music_file: Path) -> tuple[array[int], int]:
    """Return what a telephone plays around the seam of a converted file, the seam in the middle, and the rate."""
    samples = samples_of(music_file)
    with wave.open(str(music_file), "rb") as sound:
        rate = sound.getframerate()
    half = min(len(samples) // 2, 20 * rate)
    return in_telephone_band(samples[-half:] + samples[:half], rate), rate


def at_the_seam(music_file: Path) -> int:
    """Return the milliseconds of silence that hold the seam of a converted file."""
    samples, rate = around_the_seam(music_file)
    return silence_at(samples, len(samples) // 2, rate)


@pytest.mark.parametrize("ends", ENDS)
def test_no_silence_is_heard_at_the_seam(tmp_path: Path, ends: str) -> None:
    form, source, chain = ENDS[ends]
    options = ["-af", chain] if chain else []
    if "MP3" in ends:
        options += ["-write_xing", "0"]
    if "A-law" in ends:
        options += ["-c:a", "pcm_alaw"]
    made = prepared(make(tmp_path / f"track.{form}", *options, source=source))
    found = {rate: longest_silence(*around_the_seam(path)) for rate, path in made.paths.items()}
    assert max(found.values()) <= LONGEST, found  # the music itself has no silence
    assert LONG - 0.3 < made.seconds < LONG + 2.95, "the music itself is not cut"
    lengths = {len(samples_of(path)) / rate for rate, path in made.paths.items()}
    assert lengths == {made.seconds}


def test_the_built_in_piece_has_no_silence_at_its_seam(tmp_path: Path) -> None:
    made = music.prepare(settings(BUILTIN, tmp_path))
    assert [at_the_seam(path) for path in made.paths.values()] == [0, 0]


def test_a_loop_of_a_wide_range_has_no_silence_at_its_seam(tmp_path: Path) -> None:
    """The compressor is turned down when a loud passage ends, so what comes then is quieter than it was."""
    source = f"aevalsrc='pow(10,-mod(floor(t/4)*7,25)/20)*{MUSIC}*if(gt(t,30),exp(2*(30-t)),1)':s=44100:d=33"
    made = prepared(make(tmp_path / "waves.flac", source=source))
    assert max(at_the_seam(path) for path in made.paths.values()) <= LONGEST


@pytest.mark.parametrize("where", ["begin", "end"])
def test_a_quiet_half_is_not_cut_for_silence(tmp_path: Path, where: str) -> None:
    quiet = f"if({'lt' if where == 'begin' else 'gt'}(t,8),0.0178,1)"
    made = prepared(make(tmp_path / "half.flac", source=f"aevalsrc='{quiet}*{MUSIC}':s=44100:d=16"))
    assert made.seconds == pytest.approx(16, abs=0.5)
    assert max(at_the_seam(path) for path in made.paths.values()) <= LONGEST


def test_a_piano_sounds_until_it_has_died_away(tmp_path: Path) -> None:
    """Notes that fall by 12 dB a second; the last one is heard for 2 s."""
    notes = "0.5*exp(-1.4*if(lt(t,4),mod(t,0.5),t-4))*sin(2*PI*440*t)"
    made = prepared(make(tmp_path / "piano.flac", source=f"aevalsrc='{notes}':s=44100:d=10"))
    assert made.seconds == pytest.approx(4 + 2, abs=0.5)
    for rate, path in made.paths.items():
        assert at_the_seam(path) <= LONGEST
        assert longest_silence(samples_of(path), rate) <= LONGEST
