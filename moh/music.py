"""The owner's file made ready for the telephone, once: mono PCM at 8 kHz in the cache folder.

``python3 -m moh.music`` does it ahead of the server and says how long the music is; the server then finds it done.
Runs ffmpeg; for the start only, never during a call.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from .config import Settings
from .errors import SettingsError

BUILTIN = Path(__file__).with_name("builtin.mp3")
RATE = 8000
"""Samples a second of the prepared music."""
FORMAT = "1"
"""Counts up when the same file would be prepared otherwise than before."""


@dataclass(frozen=True)
class Music:
    """Prepared music: the file to play, its length in seconds, what it was made from, how long that took.

    ``took`` is 0 where it was found prepared.
    """

    path: Path
    seconds: float
    source: Path
    took: float = 0.0

    def describe(self) -> str:
        """For people: ``music.mp3 (3 min 12 s)``."""
        name = "the built-in piece" if self.source == BUILTIN else self.source.name
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{name} ({minutes} min {seconds} s)" if minutes else f"{name} ({self.seconds:.0f} s)"


def find_source(settings: Settings) -> Path:
    """The file to play: the owner's by name, else where owners put it, else the built-in piece."""
    if settings.music:
        return Path(settings.music).expanduser().absolute()
    for place in (Path("/music.mp3"), Path("music.mp3").absolute()):
        if place.exists():
            return place
    return BUILTIN


def cache_folder(settings: Settings) -> Path:
    """Where prepared music is kept; made where it is missing. Without a usable one: a folder under the temporary."""
    if settings.cache:
        folder = Path(settings.cache).expanduser().absolute()
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "moh"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError as error:
        if settings.cache:
            raise SettingsError(f"MOH_CACHE is {settings.cache!r}: {error.strerror}; expected a folder") from None
    if settings.cache:
        raise SettingsError(f"MOH_CACHE is {settings.cache!r}: not writable; expected a folder to write to")
    return Path(tempfile.mkdtemp(prefix="moh-"))


def prepare(settings: Settings) -> Music:
    """Convert the music unless that has been done. Raises ``SettingsError`` for a file that is no music."""
    source = find_source(settings)
    try:
        facts = source.stat()
    except OSError as error:
        raise SettingsError(f"Music is {str(source)!r}: {error.strerror}; expected an audio file") from None
    if source.is_dir():
        raise SettingsError(
            f"Music is {str(source)!r}, a folder; expected an audio file (Docker makes a folder of a file not there)"
        )
    name = f"{FORMAT} {source} {facts.st_size} {facts.st_mtime_ns}".encode("utf-8", "surrogateescape")
    folder = cache_folder(settings)
    path = folder / f"{hashlib.sha256(name).hexdigest()[:16]}.wav"
    if path.exists():
        return Music(path, _seconds(path), source)
    began = time.monotonic()
    handle, unfinished = tempfile.mkstemp(suffix=".wav", dir=folder)
    os.close(handle)
    try:
        _convert(source, unfinished)
        seconds = _seconds(Path(unfinished))
        if seconds < 0.1:
            raise SettingsError(f"Music is {str(source)!r}: {seconds:.2f} s of sound; expected at least 0.1 s")
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)
    return Music(path, seconds, source, time.monotonic() - began)


def convert_command(source: Path, target: str) -> list[str]:
    """The ffmpeg command that converts; a pure function."""
    stream = ffmpeg.input(f"file:{source}").output(
        f"file:{target}", **{"map": "0:a:0", "ar": RATE, "ac": 1, "c:a": "pcm_s16le", "f": "wav"}
    )
    command: list[str] = stream.global_args("-nostdin", "-hide_banner", "-loglevel", "error").compile(
        overwrite_output=True
    )
    return command


def _convert(source: Path, target: str) -> None:
    try:
        done = subprocess.run(convert_command(source, target), stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise SettingsError(f"ffmpeg does not run: {error.strerror}; expected it on the PATH") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit {done.returncode}"]
        raise SettingsError(f"Music is {str(source)!r}: no audio that ffmpeg can read ({said[-1]!r})")


def _seconds(path: Path) -> float:
    try:
        with wave.open(str(path), "rb") as sound:
            return sound.getnframes() / sound.getframerate()
    except (wave.Error, EOFError, ZeroDivisionError):
        return 0.0


def main() -> int:
    """Prepare the music and say so in one line; exit status 1 with one line for what stands in the way."""
    try:
        music = prepare(Settings.from_environment(os.environ))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    how = f"converted in {music.took:.1f} s" if music.took else "converted before"
    print(f"Music: {music.describe()}, {how}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
