"""The owner's file made ready for the telephone, once: mono PCM at 8 and 16 kHz in the cache folder.

``python3 -m moh.music`` does it ahead of the server and says how long the music is; the server then finds it done.
Runs ffmpeg; for the start only, never during a call.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from .codecs import CODECS
from .config import Settings
from .errors import SettingsError

BUILTIN = Path(__file__).with_name("builtin.mp3")
RATES = sorted({codec.sample_rate for codec in CODECS})
"""Samples a second that the music is prepared in: one file for each."""
SHORTEST = 0.1
"""Seconds of sound that make music."""
FORMAT = "1"
"""Counts up when the same file would be prepared otherwise than before."""


@dataclass(frozen=True)
class Music:
    """Prepared music: a file for each sample rate, its length in seconds, what it was made from, how long that took.

    ``took`` is 0 where it was found prepared.
    """

    paths: Mapping[int, Path]
    seconds: float
    source: Path
    took: float = 0.0

    def describe(self) -> str:
        """For people: ``music.mp3 (3 min 12 s)``."""
        name = "the built-in piece" if self.source == BUILTIN else self.source.name
        if not name.isprintable():
            name = repr(name)
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{name} ({minutes} min {seconds} s)" if minutes else f"{name} ({self.seconds:.0f} s)"


def find_source(settings: Settings) -> Path:
    """The file to play: the owner's by name, else where owners put it, else the built-in piece."""
    if settings.music:
        return _absolute("MOH_MUSIC", settings.music)
    for place in (Path("/music.mp3"), Path("music.mp3").absolute()):
        if place.exists():
            return place
    return BUILTIN


def cache_folder(settings: Settings) -> Path:
    """Where prepared music is kept; made where it is missing. Without a usable one: a folder under the temporary."""
    if settings.cache:
        folder = _absolute("MOH_CACHE", settings.cache)
    else:
        try:
            folder = _absolute("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "moh"
        except SettingsError:  # nobody's home, as for a user that exists by number only
            return Path(tempfile.mkdtemp(prefix="moh-"))
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


def _absolute(variable: str, text: str) -> Path:
    """The path that ``text`` means. Raises ``SettingsError`` where it means none, or one that ffmpeg is not told."""
    try:
        path = Path(text).expanduser().absolute()
        str(path).encode()
    except RuntimeError:
        raise SettingsError(f"{variable} is {text!r}: no such home folder; expected a path") from None
    except UnicodeEncodeError:
        raise SettingsError(f"{variable} is {text!r}; expected a name in UTF-8") from None
    return path


def prepare(settings: Settings) -> Music:
    """Convert the music unless that has been done. Raises ``SettingsError`` for a file that is no music."""
    try:
        return _prepare(settings)
    except OSError as error:
        raise SettingsError(f"Music cannot be kept: {error}; expected a cache folder with room to write") from None


def _prepare(settings: Settings) -> Music:
    source = find_source(settings)
    try:
        facts = source.stat()
    except OSError as error:
        raise SettingsError(f"Music is {str(source)!r}: {error.strerror}; expected an audio file") from None
    if source.is_dir():
        raise SettingsError(
            f"Music is {str(source)!r}, a folder; expected an audio file (Docker makes a folder of a file not there)"
        )
    if not source.is_file():
        raise SettingsError(f"Music is {str(source)!r}, a device or pipe; expected an audio file")
    name = f"{FORMAT} {source} {facts.st_size} {facts.st_mtime_ns}".encode("utf-8", "surrogateescape")
    folder = cache_folder(settings)
    stem = hashlib.sha256(name).hexdigest()[:16]
    paths = {rate: folder / f"{stem}-{rate}.wav" for rate in RATES}
    if (seconds := min(map(_seconds, paths.values()))) >= SHORTEST:
        return Music(paths, seconds, source)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder) as unfinished:
        made = {rate: Path(unfinished) / path.name for rate, path in paths.items()}
        _convert(source, made)
        seconds = min(map(_seconds, made.values()))
        if seconds < SHORTEST:
            raise SettingsError(f"Music is {str(source)!r}: {seconds:.2f} s of sound; expected at least {SHORTEST} s")
        for rate, path in paths.items():
            os.replace(made[rate], path)
    return Music(paths, seconds, source, time.monotonic() - began)


def convert_command(source: Path, targets: Mapping[int, Path]) -> list[str]:
    """The ffmpeg command that converts, to one file for each sample rate; a pure function."""
    decoded = ffmpeg.input(f"file:{source}")
    form = {"map": "0:a:0", "ac": 1, "c:a": "pcm_s16le", "f": "wav"}
    outputs = [decoded.output(f"file:{path}", ar=rate, **form) for rate, path in targets.items()]
    command: list[str] = (
        ffmpeg.merge_outputs(*outputs)
        .global_args("-nostdin", "-hide_banner", "-loglevel", "error")
        .compile(overwrite_output=True)
    )
    return command


def _convert(source: Path, targets: Mapping[int, Path]) -> None:
    try:
        done = subprocess.run(convert_command(source, targets), stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise SettingsError(f"ffmpeg does not run: {error.strerror}; expected it on the PATH") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit {done.returncode}"]
        raise SettingsError(f"Music is {str(source)!r}: no audio that ffmpeg can read ({said[0]!r})")


def _seconds(path: Path) -> float:
    """How long the WAV file plays; 0 where it cannot be read."""
    try:
        with wave.open(str(path), "rb") as sound:
            return sound.getnframes() / sound.getframerate()
    except (OSError, wave.Error, EOFError, ZeroDivisionError):
        return 0.0


def main() -> int:
    """Prepare the music and say so in one line; exit status 1 with one line for what stands in the way."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that ffmpeg and the unfinished file go as well
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
