"""Tracks that ffmpeg makes for a test, and the settings that prepare them."""

from __future__ import annotations

import subprocess
import wave
from array import array
from pathlib import Path

import pytest

from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.mastering.form import Form
from moh.mastering.prepare import Music, prepare, prepare_file

TONE = "sine=frequency=440:sample_rate=44100:duration=0.5"
NOISE = "anoisesrc=color=pink:sample_rate=44100:seed=1:amplitude=0.5:duration="
CHORD = "aevalsrc=0.2*sin(2*PI*441.3*t)+0.2*sin(2*PI*612.7*t)+0.1*sin(2*PI*1330.1*t):s=44100:d="


def make(path: Path, *options: str, source: str = TONE) -> Path:
    """Let ffmpeg make the file ``path``. The name has the file format."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source, *options, f"file:{path}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def settings(music: object = "", cache: object = "", **others: str) -> Settings:
    return Settings.from_environment({"MOH_MUSIC": str(music), "MOH_CACHE": str(cache), **others})


def prepared(music: Path) -> Music:
    """Prepare the file. The cache is in the same folder."""
    return prepare(settings(music, music.parent / "cache"))


def refusal(music: object, cache: object) -> str:
    """Prepare a file that is refused. Return the one line that the owner reads."""
    with pytest.raises(SettingsError) as caught:
        prepare(settings(music, cache))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def samples_of(path: Path) -> array[int]:
    with wave.open(str(path), "rb") as sound:
        return array("h", sound.readframes(sound.getnframes()))


def made_as(form: Form, music: Path, **others: str) -> Music:
    """Prepare the file in that form. The cache is in the same folder."""
    return prepare_file(music, settings(cache=music.parent / "cache", **others), form)


def voice(path: Path, seconds: float, noise: float = 0.0005) -> Path:
    """Sound like speech: syllables of a voice of 120 Hz, four a second, a third of them soft, in phrases of 2 s.

    After each phrase there is a pause of 1 s with the noise of the room, which is there all the time.
    """
    glottis = "+".join(f"{1 / n:.3f}*sin(2*PI*{120 * n}*t+{n * n})" for n in range(1, 26))
    syllable = "pow(max(sin(2*PI*4*t),0),0.5)*if(lt(mod(floor(4*t),3),1),0.25,1)*lt(mod(t,3),2)"
    room = f"{noise}*(random(0)-0.5)*2"
    return make(path, source=f"aevalsrc='0.15*({glottis})*{syllable}+{room}':s=44100:d={seconds}")
