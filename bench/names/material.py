"""The music folder of the measurement: a loud, a quiet and a spoken piece, and an announcement.

The voices are made by flite, which Debian's ffmpeg has.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.sound import ffmpeg
from moh.mastering.prepare import BUILTIN

PIECES = ("1-loud.mp3", "2-quiet.wav", "3-spoken.wav")
ANNOUNCEMENT = "announce.wav"
STORY = (
    "Once upon a time there was a telephone that nobody answered. It rang in the morning, it rang at noon, and it rang "
    "in the evening. The people next door took it for a bird. Then one day a child picked it up and said hello. Since "
    "then the telephone has never been lonely again, and the birds have had the garden for themselves."
)
REQUEST = "All our lines are busy. Please hold the line. The next free member of our staff will take your call."


def make_folder(folder: Path) -> None:
    """Make the names ``hold``, with an announcement, and ``plain``, without one."""
    hold, plain = folder / "hold", folder / "plain"
    hold.mkdir(parents=True)
    loud, quiet, spoken = (hold / name for name in PIECES)
    # cut off in the middle of the music, and far too loud
    _make("-ss", 4, "-t", 26, "-i", BUILTIN, "-af", "volume=20dB", "-b:a", "160k", loud)
    # far too quiet, with a fade-out at its end and silence after it
    _make("-ss", 14, "-t", 30, "-i", BUILTIN, "-af", "volume=-30dB,afade=t=out:st=24:d=6,apad=pad_dur=2", quiet)
    _speak(STORY, "slt", -9, spoken)
    _speak(REQUEST, "rms", -20, hold / ANNOUNCEMENT)
    plain.mkdir()
    for name in PIECES:
        shutil.copy(hold / name, plain / name)


def _make(*options: object) -> None:
    ffmpeg("-v", "error", "-y", *options)


def _speak(text: str, voice: str, level: float, target: Path) -> None:
    silence = "adelay=700,apad=pad_dur=1.2"
    _make("-f", "lavfi", "-i", f"flite=text='{text}':voice={voice}", "-af", f"volume={level}dB,{silence}", target)
