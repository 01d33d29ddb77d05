"""The owner's file made ready for the telephone, once: mono PCM at 8 and 16 kHz in the cache folder.

``python3 -m moh.mastering.prepare`` does it ahead of the server and says what it did; the server then finds it done.
``prepare`` keeps nothing between calls and may be called from any thread, by several at once. Runs ffmpeg, never during
a call.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from ..common.codecs import CODECS
from ..common.config import Settings
from ..common.errors import SettingsError
from ..ffmpeg.run import Failed, Progress
from .cache import absolute, cache_folder, clean, entry_of, length_of, workshop
from .filter_graphs import LONGEST
from .loop import RATE, close_loop
from .loudness import SILENT, even, finish, fold, listen, measure, planned
from .progress import ProgressLog

BUILTIN = Path(__file__).parent.parent / "builtin.mp3"
PLACES = (Path("/music.mp3"), Path("music.mp3"))
"""Where owners put theirs; the second is in the folder that the server is started in."""
RATES = sorted({codec.sample_rate for codec in CODECS})
"""Samples a second that the music is prepared in: one file for each."""
SHORTEST = 0.1
"""Seconds of sound that make music."""
SILENCE = 26.0
"""dB under the music's own level from which on an end of it counts as silence: -50 dBFS where it is made -24."""
ROOM = 2 * (sum(RATES) + RATE)
"""Octets that a second of music takes while it is converted."""
ATTEMPTS = 3
"""Times that a file is read when it changes meanwhile."""


@dataclass(frozen=True)
class Music:
    """Prepared music: a file for each sample rate, its length in seconds, what it was made from, how long that took.

    ``took`` is 0 where it was found prepared; ``report`` says what was done to it. While ``hold`` lives, no other
    server takes the files for stale and away: keep this object as long as anything is to be played from it.
    """

    paths: Mapping[int, Path]
    seconds: float
    source: Path
    took: float = 0.0
    report: str = ""
    hold: object = field(default=None, compare=False, repr=False)

    def describe(self) -> str:
        """For people: ``music.mp3 (3 min 12 s)``."""
        name = "the built-in piece" if self.source == BUILTIN else self.source.name
        if not name.isprintable():
            name = repr(name)
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{name} ({minutes} min {seconds} s)" if minutes else f"{name} ({self.seconds:.0f} s)"

    def summary(self) -> str:
        """For people: what it is and all that was done, in one line."""
        how = f"converted in {self.took:.1f} s" if self.took else "converted before"
        return f"{self.describe()}, {how}: {self.report}"


def find_source(settings: Settings) -> Path:
    """The file to play: the owner's by name, else where owners put it, else the built-in piece."""
    if settings.music:
        return absolute("MOH_MUSIC", settings.music)
    for place in PLACES:
        if place.exists():
            return place.absolute()
    return BUILTIN


def prepare(settings: Settings, progress: Optional[Progress] = None) -> Music:
    """Convert the music unless that has been done. Raises ``SettingsError`` for a file that is no music.

    ``watch`` is told how far the conversion is, from 0 to 1.
    """
    source = find_source(settings)
    try:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(0.5)  # for whoever is still writing it
            if (music := _prepare(source, settings, progress)) is not None:
                return music
    except OSError as error:
        raise SettingsError(f"Music cannot be kept: {error}; expected a cache folder with room to write") from None
    raise SettingsError(f"Music is {str(source)!r}: it changes while it is read; expected a file that is complete")


def _facts(source: Path) -> os.stat_result:
    try:
        facts = source.stat()
    except OSError as error:
        raise SettingsError(f"Music is {str(source)!r}: {error.strerror}; expected an audio file") from None
    if stat.S_ISDIR(facts.st_mode):
        raise SettingsError(
            f"Music is {str(source)!r}, a folder; expected an audio file (Docker makes a folder of a file not there)"
        )
    if not stat.S_ISREG(facts.st_mode):
        raise SettingsError(f"Music is {str(source)!r}, a device or pipe; expected an audio file")
    if facts.st_size == 0:
        raise SettingsError(f"Music is {str(source)!r}, an empty file; expected an audio file")
    return facts


def _prepare(source: Path, settings: Settings, progress: Optional[Progress]) -> Optional[Music]:
    """Find or make it; ``None`` where the file has changed meanwhile."""
    facts = _facts(source)
    wanted = "off" if settings.loudness is None else f"{settings.loudness:g}"
    entry = entry_of(cache_folder(settings), source, facts, f"loudness {wanted}", RATES)
    clean(entry)
    if (found := entry.find()) is not None:
        seconds, report, hold = found
        return Music(entry.paths, seconds, source, 0.0, report, hold)
    began = time.monotonic()
    with workshop(entry.folder) as place:
        made = {rate: place / path.name for rate, path in entry.paths.items()}
        try:
            report = _convert(source, made, settings.loudness, progress)
        except (Failed, SettingsError) as error:
            if _differs(source, facts):
                return None
            if isinstance(error, SettingsError):
                raise
            if error.is_full:
                raise SettingsError(_no_room(entry.folder)) from None
            why = f"no audio that ffmpeg can read ({error.why!r})"
            raise SettingsError(f"Music is {str(source)!r}: {why}; expected an audio file") from None
        if _differs(source, facts):
            return None
        seconds = length_of(made[RATES[0]])
        hold = entry.keep(made, seconds, report)
    return Music(entry.paths, seconds, source, time.monotonic() - began, report, hold)


def _differs(source: Path, facts: os.stat_result) -> bool:
    try:
        now = source.stat()
    except OSError:
        return True
    return (now.st_ino, now.st_size, now.st_mtime_ns) != (facts.st_ino, facts.st_size, facts.st_mtime_ns)


def _no_room(folder: Path, needed: float = 0.0) -> str:
    free = shutil.disk_usage(folder).free
    wants = f"{needed / 1e6:.0f} MB are needed, " if needed else ""
    return f"Music cannot be kept: {wants}{free / 1e6:.0f} MB are free in {str(folder)!r}; expected room to write"


def _convert(source: Path, made: Mapping[int, Path], wanted: Optional[float], progress: Optional[Progress]) -> str:
    """Make the files; gives back what was done. ``wanted`` is the loudness in LUFS, ``None``: leave it."""
    place = next(iter(made.values())).parent
    heard, played = listen(source, _stage(progress, 0.0, 0.4)), source
    if heard.changes:
        played = place / "even.wav"
        even(source, played)
        heard = listen(played, None)
    if heard.seconds < SHORTEST:
        raise SettingsError(f"Music is {str(source)!r}: {heard.seconds:.2f} s of sound; expected at least {SHORTEST} s")
    if heard.loudest < SILENT:
        raise SettingsError(
            f"Music is {str(source)!r}: silent, or next to it (nothing above {SILENT:.0f} dBFS between "
            "300 and 3400 Hz); expected music"
        )
    if (needed := heard.seconds * ROOM) > shutil.disk_usage(place).free:
        raise SettingsError(_no_room(place.parent, needed))
    folded = place / "folded.s16"
    gain = fold(played, folded, heard, _stage(progress, 0.4, 0.65))
    loop = close_loop(folded, 32768 * 10 ** ((heard.level + gain - SILENCE) / 20))
    if loop.length < SHORTEST * RATE:
        raise SettingsError(
            f"Music is {str(source)!r}: {loop.length / RATE:.2f} s of sound; expected at least {SHORTEST} s"
        )
    before = measure(folded, loop)
    plans = {rate: planned(before[rate], gain, wanted) for rate in made}
    after = finish(folded, loop, made, plans, wanted, heard.soxr, _stage(progress, 0.7, 1.0))
    folded.unlink()
    lengths = {length_of(path) for path in made.values()}
    if lengths != {loop.length / RATE}:
        raise SettingsError(f"Music is {str(source)!r}: ffmpeg made {lengths} s of it instead of {loop.length / RATE}")
    first = RATES[0]
    done = [
        f"{before[first].integrated - gain:.1f} LUFS made {after[first].integrated:.1f}",
        f"peak {max(loudness.peak for loudness in after.values()):.1f} dBTP",
        f"seam {loop.seam}",
    ]
    if wanted is not None and abs(after[first].integrated - wanted) > 1:
        done.insert(1, f"not {wanted:g} because of its peaks")
    if before[first].range - after[first].range > 1:
        done.append(f"range of {before[first].range:.0f} LU made {after[first].range:.0f}")
    if heard.weights[1] < 0:
        done.append("left and right are out of phase: their difference is played")
    if loop.trimmed >= RATE // 10:
        done.append(f"{loop.trimmed / RATE:.1f} s of silence cut")
    if heard.seconds >= LONGEST - 1:
        done.append(f"only the first {LONGEST / 60:.0f} min of it")
    elif heard.promised and heard.seconds < 0.9 * heard.promised:
        done.append(f"the file breaks off after {heard.seconds:.0f} of {heard.promised:.0f} s")
    return ", ".join(done)


def _stage(progress: Optional[Progress], begin: float, end: float) -> Optional[Progress]:
    """The progress of one stage of the conversion, from share ``begin`` of the whole to ``end``."""
    if progress is None:
        return None
    report = progress
    return lambda share: report(begin + (end - begin) * share)


def main() -> int:
    """Prepare the music and say so in one line; exit status 1 with one line for what stands in the way."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that ffmpeg and the unfinished file go as well
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        music = prepare(Settings.from_environment(os.environ), ProgressLog())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Music: {music.summary()}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
