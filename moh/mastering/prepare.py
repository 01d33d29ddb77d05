"""Converts the owner's file once for the telephone: to mono PCM at 8 and 16 kHz in the cache.

``python3 -m moh.mastering.prepare`` converts the file before the server starts, and prints what was done; the server
then finds the result in the cache. ``prepare`` keeps no state between calls, and any number of threads may call it at
once. It runs ffmpeg, so no thread that serves calls may call it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from ..common.codecs import CODECS
from ..common.config import Settings
from ..common.errors import SettingsError
from ..ffmpeg.run import FfmpegFailed, Progress
from .cache import Entry, Found, digest_of, entry_of
from .cache_folder import absolute, cache_folder
from .conversion import cannot_write, convert, no_room
from .form import Form
from .music_folder import music_folder
from .owner_name import in_owner_words, owner_name
from .progress import ProgressLog
from .refusals import facts_of, not_decoded, refuse, refuse_other_kinds, unreadable
from .report import loudness_of

BUILTIN = Path(__file__).parent.parent / "builtin.mp3"
SHIPPED = Path(__file__).parent.parent / "converted"
"""A second cache, which is only read and need not exist. That of the image has the built-in piece, since a container
begins with an empty cache."""
DEFAULT_SOURCES = (Path("/music.mp3"), Path("music.mp3"))
"""The files that are tried if no setting names one. The second is in the folder that the server is started in."""
RATES = sorted({codec.sample_rate for codec in CODECS})
"""The sample rates in Hz of the converted files."""
ATTEMPTS = 3
"""How often a file that changes while it is read is read at most."""
ATTEMPTS_APART = 0.5
"""Seconds between two attempts, in which another program may finish writing the file."""

log = logging.getLogger("moh")


@dataclass(frozen=True)
class Music:
    """Converted music: a file for each sample rate, the length in seconds, and the owner's file.

    ``took`` is how many seconds the conversion took, or 0 if the cache had the music. ``report`` says what was done to
    the music. ``lock`` keeps the files in the cache: hold this object while the files are played. ``loudness`` is what
    was measured of the result in the telephone's band, in LUFS; ``None`` if the loudness was to stay as it was.
    ``tail`` is how many seconds at the end are too soft for a caller to hear: the next piece may begin over them.
    """

    paths: Mapping[int, Path]
    seconds: float
    source: Path
    took: float = 0.0
    report: str = ""
    lock: object = field(default=None, compare=False, repr=False)
    loudness: Optional[float] = None
    tail: float = 0.0

    @property
    def folder(self) -> Path:
        """The entry of the cache, for a ``Lock`` of another process."""
        return next(iter(self.paths.values())).parent

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


def prepare(settings: Settings, progress: Optional[Progress] = None) -> Music:
    """``prepare_file`` for the one file that the settings name, as a loop."""
    return prepare_file(find_source(settings), settings, Form.LOOP, progress)


def prepare_file(source: Path, settings: Settings, form: Form, progress: Optional[Progress] = None) -> Music:
    """Convert the file to that form, unless the cache has the same content in that form.

    Raises ``SettingsError`` for a file that cannot be played, and what ``progress`` raises to cancel the conversion.
    """
    try:
        return _prepare_complete(source, settings, form, progress)
    except SettingsError as error:
        raise SettingsError(in_owner_words(str(error), source)) from None


def _prepare_complete(source: Path, settings: Settings, form: Form, progress: Optional[Progress]) -> Music:
    """The music of ``source``. While the file changes, wait and try again."""
    try:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(ATTEMPTS_APART)
            if (music := _prepare(source, settings, form, progress)) is not None:
                return music
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == str(source):
            facts_of(source)  # raises if the file has been removed meanwhile
            raise unreadable(source, error) from None
        expected = "expected MOH_CACHE to name a folder that the server can write to"
        raise SettingsError(cannot_write(f"{error}; {expected}")) from None
    raise refuse(source, "it changes while it is read; expected a file that is complete")


def _prepare(source: Path, settings: Settings, form: Form, progress: Optional[Progress]) -> Optional[Music]:
    """Find the music in the cache, or convert it. Return ``None`` if the file has changed meanwhile."""
    facts = facts_of(source)
    refuse_other_kinds(source)
    try:
        digest = digest_of(source, lambda: progress(0.0) if progress else None)
    except OSError as error:
        raise unreadable(source, error) from None
    if _changed(source, facts, digest):
        return None
    entry = entry_for(source, settings, form, digest)
    for known in (entry, entry._replace(folder=SHIPPED / entry.folder.name)):
        if (found := known.find()) is not None:
            entry.clean_former()  # not all: of a thousand files that were converted before, each comes here
            return music_of(known, found, source, settings)
    entry.clean()
    began = time.monotonic()
    with entry.unfinished() as made:
        try:
            report, figures = convert(source, made.paths, form, settings.loudness, progress)
        except (FfmpegFailed, SettingsError) as error:
            if _changed(source, facts, digest):
                return None
            if isinstance(error, SettingsError):
                raise
            if error.disk_full:
                raise SettingsError(no_room(made.folder)) from None
            raise not_decoded(source, error.said) from None
        if _changed(source, facts, digest):
            return None
        kept = entry.keep(made, report, figures)
    return music_of(entry, kept, source, settings, time.monotonic() - began)


def entry_for(source: Path, settings: Settings, form: Form, digest: str) -> Entry:
    """The entry of the cache for a content of the file in that form."""
    loudness = "off" if settings.loudness is None else f"{settings.loudness:g}"
    text = f"loudness {loudness}" if form is Form.LOOP else f"{form.value}, loudness {loudness}"
    return entry_of(cache_folder(settings), source, digest, text, RATES)


def music_of(entry: Entry, found: Found, source: Path, settings: Settings, took: float = 0.0) -> Music:
    """The music that was found in the entry. A former version kept no figures: then its report tells the loudness."""
    loudness = None
    if settings.loudness is not None:
        loudness = found.figures.get("loudness", loudness_of(found.report, settings.loudness))
    tail = found.figures.get("tail", 0.0)
    return Music(entry.paths, found.seconds, source, took, found.report, found.lock, loudness, tail)


def _changed(source: Path, facts: os.stat_result, digest: str) -> bool:
    """Whether the content is another than when it was read for ``digest``; ``chmod`` and ``touch`` change none."""
    try:
        return state_of(source.stat()) != state_of(facts) and digest_of(source) != digest
    except OSError:
        return True


def state_of(facts: os.stat_result) -> tuple[int, ...]:
    """What tells one state of a file from another, as far as that can be known without reading the file."""
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


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
