"""Converts the owner's file once for the telephone: to mono PCM at 8 and 16 kHz in the cache.

``python3 -m moh.mastering.prepare`` converts the file before the server starts, and prints what was done; the server
then finds the result in the cache. ``prepare`` keeps no state between calls, and any number of threads may call it at
once. It runs ffmpeg, so no thread that serves calls may call it.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout  # another class in Python 3.9
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Optional

from ..common.codecs import CODECS
from ..common.config import Settings
from ..common.errors import SettingsError
from ..ffmpeg.run import FfmpegFailed, Progress
from .cache import Entry, digest_of, entry_of, length_of
from .cache_folder import absolute, cache_folder
from .completeness import what_is_missing
from .curve import integrated, loudness_range
from .filter_graphs import NARROW
from .formats import read_as
from .leveller import lifts, write_envelope
from .loop import RATE, close_loop
from .loudness import Loudness, analyse, choose_plan, downmix, make_uniform, measure, render
from .music_folder import music_folder
from .owner_name import in_owner_words, owner_name
from .progress import ProgressLog
from .refusals import facts_of, not_decoded, refuse, refuse_other_kinds, refuse_protected, too_short, unreadable
from .report import Outcome, in_figures, in_plain_words

BUILTIN = Path(__file__).parent.parent / "builtin.mp3"
SHIPPED = Path(__file__).parent.parent / "converted"
"""A second cache, which is only read and need not exist. That of the image has the built-in piece, since a container
begins with an empty cache."""
DEFAULT_SOURCES = (Path("/music.mp3"), Path("music.mp3"))
"""The files that are tried if no setting names one. The second is in the folder that the server is started in."""
RATES = sorted({codec.sample_rate for codec in CODECS})
"""The sample rates in Hz of the converted files."""
SHORTEST = 0.1
"""Seconds of sound that a file needs at least."""
LEAST_HEARD = 1.0
"""Seconds that can be heard of a file that is no silence, or a tenth of the file if that is less."""
ROOM = 2 * (sum(RATES) + RATE)
"""Octets on the disk that a second of music takes while it is converted."""
ATTEMPTS = 3
"""How often a file that changes while it is read is read at most."""
ATTEMPTS_APART = 0.5
"""Seconds between two attempts, in which another program may finish writing the file."""
DIGEST_TIMEOUT = 1.0
"""Seconds that callers wait at the start until it is known whether the cache has the music; then the stand-in is made.
500 MB are read in that time from memory."""
PROGRESS_EVERY = 0.1
"""Seconds between two calls of ``progress`` meanwhile."""

log = logging.getLogger("moh")


@dataclass(frozen=True)
class Music:
    """Converted music: a file for each sample rate, the length in seconds, and the owner's file.

    ``took`` is how many seconds the conversion took, or 0 if the cache had the music. ``report`` says what was done to
    the music. ``lock`` keeps the files in the cache: hold this object while the files are played.
    """

    paths: Mapping[int, Path]
    seconds: float
    source: Path
    took: float = 0.0
    report: str = ""
    lock: object = field(default=None, compare=False, repr=False)

    def describe(self) -> str:
        """Name and length, as text: ``music.mp3 (3 min 12 s)``."""
        name = "the built-in piece" if self.source == BUILTIN else Path(owner_name(self.source)).name
        if not name.isprintable():
            name = repr(name)
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{name} ({minutes} min {seconds} s)" if minutes else f"{name} ({self.seconds:.0f} s)"

    def summary(self) -> str:
        """Name, length and report, as one line of text."""
        how = f"converted in {self.took:.1f} s" if self.took else "converted before"
        return f"{self.describe()}, {how}: {self.report}"


def find_source(settings: Settings) -> Path:
    """The file to play: the one that the settings name, or one of ``DEFAULT_SOURCES``, or the built-in piece.

    With a music folder, that is the first of ``DEFAULT_SOURCES``, or the built-in piece: it plays until the folder's
    own music is ready.
    """
    folder = music_folder(settings)
    if settings.music and folder is None:
        return absolute("MOH_MUSIC", settings.music)
    for source in DEFAULT_SOURCES if folder is None else DEFAULT_SOURCES[: not settings.music]:
        if source.exists() and source != folder:
            return source.absolute()
    return BUILTIN


class FirstMusic(NamedTuple):
    """What callers hear first after the start."""

    music: Music
    state: Optional[tuple[int, ...]] = None
    """The state of the owner's file that ``music`` was made of; ``None`` for the built-in piece in its place."""


def first_music(settings: Settings, progress: Optional[Progress] = None) -> Optional[FirstMusic]:
    """The owner's music where the cache has it; otherwise the built-in piece, until the music is converted.

    ``None`` where the built-in piece is the music, or cannot be made either.
    """
    source, found = _look_up_in_time(settings, progress)
    if found is not None or source == BUILTIN:
        return found
    try:
        return FirstMusic(prepare(replace(settings, music=str(BUILTIN)), progress))
    except SettingsError:
        return None  # the owner's music meets the same obstacle, and that is reported


def _look_up_in_time(settings: Settings, progress: Optional[Progress]) -> tuple[Optional[Path], Optional[FirstMusic]]:
    """``_look_up`` for ``DIGEST_TIMEOUT`` at most; ``None`` twice where that is too short, or the file has a fault.

    The file is read in a thread of its own: a call to a network share that hangs may not return at all.
    """
    give_up = time.monotonic() + DIGEST_TIMEOUT
    found: Future[tuple[Path, Optional[FirstMusic]]] = Future()

    def tick() -> None:
        if time.monotonic() >= give_up:
            raise TimeoutError("the file is read too slowly")

    def look_up() -> None:
        try:
            found.set_result(_look_up(settings, tick))
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=look_up, name="digest", daemon=True).start()
    while (left := give_up - time.monotonic()) > 0 and not found.done():
        if progress:
            progress(0.0)
        wait([found], min(left, PROGRESS_EVERY))
    try:
        return found.result(0)
    except (FutureTimeout, TimeoutError):
        log.warning("the music is read slowly, or not at all; until it is ready, callers hear the built-in piece")
    except (OSError, SettingsError):
        pass  # ``prepare`` reports the error
    return None, None


def _look_up(settings: Settings, tick: Callable[[], None]) -> tuple[Path, Optional[FirstMusic]]:
    """The owner's file, and its music if the cache has it. The built-in piece is not looked up."""
    source = find_source(settings)
    if source == BUILTIN:
        return source, None
    facts = facts_of(source)  # raises for a pipe, which would be waited for
    refuse_other_kinds(source)
    entry = _entry_of(source, settings, digest_of(source, tick))
    found = entry.find()
    if found is None:
        return source, None
    entry.clean()
    music = Music(entry.paths, found.seconds, source, 0.0, found.report, found.lock)
    return source, FirstMusic(music, state_of(facts))


def prepare(settings: Settings, progress: Optional[Progress] = None) -> Music:
    """Convert the music, unless the cache has that of the same content.

    Raises ``SettingsError`` for a file that cannot be played.
    """
    source = find_source(settings)
    try:
        return _prepare_complete(source, settings, progress)
    except SettingsError as error:
        raise SettingsError(in_owner_words(str(error), source)) from None


def _prepare_complete(source: Path, settings: Settings, progress: Optional[Progress]) -> Music:
    """The music of ``source``. While the file changes, wait and try again."""
    try:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(ATTEMPTS_APART)
            if (music := _prepare(source, settings, progress)) is not None:
                return music
    except OSError as error:
        expected = "expected MOH_CACHE to name a folder that the server can write to"
        raise SettingsError(_cannot_write(f"{error}; {expected}")) from None
    raise refuse(source, "it changes while it is read; expected a file that is complete")


def _prepare(source: Path, settings: Settings, progress: Optional[Progress]) -> Optional[Music]:
    """Find the music in the cache, or convert it. Return ``None`` if the file has changed meanwhile."""
    facts = facts_of(source)
    refuse_other_kinds(source)
    try:
        digest = digest_of(source, lambda: progress(0.0) if progress else None)
    except OSError as error:
        raise unreadable(source, error) from None
    if _changed(source, facts, digest):
        return None
    entry = _entry_of(source, settings, digest)
    entry.clean()
    for known in (entry, entry._replace(folder=SHIPPED / entry.folder.name)):
        if (found := known.find()) is not None:
            return Music(known.paths, found.seconds, source, 0.0, found.report, found.lock)
    began = time.monotonic()
    with entry.unfinished() as made:
        try:
            report = _convert(source, made.paths, settings.loudness, progress)
        except (FfmpegFailed, SettingsError) as error:
            if _changed(source, facts, digest):
                return None
            if isinstance(error, SettingsError):
                raise
            if error.disk_full:
                raise SettingsError(_no_room(made.folder)) from None
            raise not_decoded(source, error.said) from None
        if _changed(source, facts, digest):
            return None
        kept = entry.keep(made, report)
    return Music(entry.paths, kept.seconds, source, time.monotonic() - began, kept.report, kept.lock)


def _entry_of(source: Path, settings: Settings, digest: str) -> Entry:
    loudness = "off" if settings.loudness is None else f"{settings.loudness:g}"
    return entry_of(cache_folder(settings), source, digest, f"loudness {loudness}", RATES)


def _changed(source: Path, facts: os.stat_result, digest: str) -> bool:
    """Whether the content is another than when it was read for ``digest``; ``chmod`` and ``touch`` change none."""
    try:
        return state_of(source.stat()) != state_of(facts) and digest_of(source) != digest
    except OSError:
        return True


def state_of(facts: os.stat_result) -> tuple[int, ...]:
    """What tells one state of a file from another, as far as that can be known without reading the file."""
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _no_room(made: Path, needed: float = 0.0) -> str:
    cache = made.parent.parent
    free = shutil.disk_usage(cache).free
    wants = f"{needed / 1e6:.0f} MB are needed, " if needed else ""
    return _cannot_write(f"{wants}{free / 1e6:.0f} MB are free in {str(cache)!r}; expected room to write")


def _cannot_write(why: str) -> str:
    return f"Cannot write the converted music: {why}"


def _convert(source: Path, targets: Mapping[int, Path], wanted: Optional[float], progress: Optional[Progress]) -> str:
    """Write the file for each sample rate, and return the report of what was done.

    ``wanted`` is the loudness in LUFS; ``None`` leaves the loudness unchanged. Intermediate files are written beside
    the folder of ``targets``.
    """
    made = next(iter(targets.values())).parent
    work = made.parent
    analysis, uniform = analyse(source, work, _stage(progress, 0.0, 0.4)), source
    if analysis.changes:
        uniform = work / "uniform.wav"
        make_uniform(source, uniform)
        analysis = replace(analyse(uniform, work, None), declared=analysis.declared, said=analysis.said)
    refuse_protected(source, analysis.said)
    if analysis.seconds < SHORTEST:
        raise too_short(source, analysis.seconds, SHORTEST, analysis.said)
    if analysis.heard < min(LEAST_HEARD, analysis.seconds / 10):
        audible = f"makes only {analysis.heard:.1f} s of its {analysis.seconds:.1f} s audible (300 to 3400 Hz)"
        raise refuse(source, f"it is almost silent: a telephone {audible}; expected music")
    if (needed := analysis.seconds * ROOM) > shutil.disk_usage(made).free:
        raise SettingsError(_no_room(made, needed))
    mono, heard = work / "mono.s16", work / "heard.s16"
    gain = downmix(uniform, mono, heard, analysis, _stage(progress, 0.4, 0.65))
    loop = close_loop(mono, heard, 32768 * 10 ** ((analysis.level + gain) / 20))
    heard.unlink()  # the results take its room
    if loop.length < SHORTEST * RATE:
        raise too_short(source, loop.length / RATE, SHORTEST)
    curves = measure(mono, loop)
    original = Loudness(integrated(curves[NARROW]) - gain, loudness_range(curves[NARROW]), analysis.peak)
    plans, levelled, lift = {}, dict(curves), 0.0
    for rate in targets:
        envelope = None
        if wanted is not None and (gains := lifts(curves[rate], gain)):
            envelope = work / f"{rate}.envelope"
            write_envelope(envelope, gains, loop)
            levelled[rate] = [value + more for value, more in zip(curves[rate], gains)]
            lift = max(lift, *gains)
        plans[rate] = choose_plan(curves[rate], levelled[rate], gain, wanted, envelope)
    after = render(mono, loop, targets, plans, wanted, analysis.soxr, _stage(progress, 0.7, 1.0))
    lengths = {length_of(path) for path in targets.values()}
    if lengths != {loop.length / RATE}:
        raise refuse(source, f"ffmpeg made {lengths} s of it instead of {loop.length / RATE}")
    outcome = Outcome(
        analysis,
        loop,
        wanted,
        original,
        after,
        lift,
        levelled[NARROW],
        missing=what_is_missing(source, analysis.seconds, analysis.declared, analysis.said),
        read_as=read_as(source),
    )
    log.debug("music: %s", in_figures(outcome))
    return in_plain_words(outcome)


def _stage(progress: Optional[Progress], begin: float, end: float) -> Optional[Progress]:
    """The progress function for one stage, which takes the conversion from the share ``begin`` to the share ``end``."""
    if progress is None:
        return None
    report = progress
    return lambda share: report(begin + (end - begin) * share)


def main() -> int:
    """Prepare the music and print one line. If that fails, print what is wrong and return exit status 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the exception ends ffmpeg and removes unfinished files
    logging.basicConfig(format="%(message)s")
    try:
        settings = Settings.from_environment(os.environ)
        log.setLevel(settings.log)
        music = prepare(settings, ProgressLog())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Music: {music.summary()}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
