"""Puts the pieces of a folder together to one loop, with its joints and announcements, and keeps it in the cache.

An entry has the loop for each sample rate. With an announcement it also has the *plain* twin: the same music of the
same length, without announcements. ``arrange`` runs for seconds, so no thread that serves calls may call it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional

from ..common.config import Settings
from ..common.errors import SettingsError
from ..ffmpeg.run import Progress
from .arrangement import HOUR, LONGEST_SPOKEN, Plan, first_at, how_many_fit, plan, seconds_of
from .cache import Entry, Found, digest_of, entry_of, length_of, make_empty, open_ours
from .cache_folder import cache_folder
from .conversion import cannot_write, no_room
from .joints import Row, find_ends
from .loudness import MARGIN, PEAK
from .lowering import DEPTH, TICKS
from .prepare import RATES, Music
from .splicing import Sound, write_announced, write_row

ARRANGED = "2"
"""The version of the arrangements. Increase it when the same pieces would be put together differently than before."""
DETAILS = "arrangement.json"
"""The file of an entry that says where its pieces and announcements are."""
MOST_DETAILS = 1 << 22
"""Octets that this file may have."""
OCTETS_A_SECOND = 2 * sum(RATES)
"""Octets on the disk that a second of an arrangement takes. With its plain twin, it takes twice as much."""


@dataclass(frozen=True)
class Arranged:
    """An arrangement: a file for each sample rate, its plain twin, and what is where in it."""

    paths: Mapping[int, Path]
    seconds: float
    plain: Mapping[int, Path]
    """The same music without announcements, a file for each sample rate; empty where there are none."""
    plain_for: float
    """For how many seconds a caller hears no announcement; 0 where there are none."""
    announcements: tuple[tuple[float, float], ...]
    """Begin and end of each announcement in seconds of the loop. Between them both files have the same samples."""
    pieces: tuple[tuple[Path, float], ...]
    """The owner's file of each piece, and the second at which it begins."""
    took: float
    """How many seconds it took, or 0 if the cache had it."""
    report: str
    folder: Path
    """The entry of the cache, for a ``Lock`` of another process."""
    lock: object = field(default=None, compare=False, repr=False)
    loudness: Optional[float] = None
    """That of the pieces together, in LUFS; ``None`` where that of one is not known."""

    def summary(self) -> str:
        """Length and report, as one line of text."""
        minutes, seconds = divmod(round(self.seconds), 60)
        how = f"put together in {self.took:.1f} s" if self.took else "put together before"
        return f"{f'{minutes} min ' if minutes else ''}{seconds} s, {how}: {self.report}"


class Details(NamedTuple):
    """What the file ``DETAILS`` holds. The pieces are numbers of the parts, with their seconds."""

    plain: bool
    plain_for: float
    announcements: list[tuple[float, float]]
    pieces: list[tuple[int, float]]


class ArrangedEntry(Entry):
    """An arrangement in the cache."""

    @property
    def plain(self) -> dict[int, Path]:
        """The file of the plain twin for each sample rate."""
        return {rate: self.folder / f"{rate}-plain.wav" for rate in self.rates}

    def details(self) -> Optional[Details]:
        """Where the pieces and announcements are; ``None`` where the file cannot be read."""
        try:
            with open_ours(self.folder / DETAILS) as file:
                held = json.loads(file.read(MOST_DETAILS))
            announcements = [(float(begin), float(end)) for begin, end in held["announcements"]]
            pieces = [(int(number), float(at)) for number, at in held["pieces"]]
            return Details(bool(held["plain"]), float(held["plain_for"]), announcements, pieces)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def find(self) -> Optional[Found]:
        """As ``Entry.find``. ``None`` also if the plain twin or the details are missing."""
        found, details = super().find(), self.details()
        if found is None or details is None:
            return None
        complete = not details.plain or {length_of(path) for path in self.plain.values()} == {found.seconds}
        return found if complete else None


def arrange(
    folder: Path,
    parts: Sequence[Music],
    announcement: Optional[Music],
    settings: Settings,
    progress: Optional[Progress] = None,
) -> Arranged:
    """Put ``parts`` together in their order to a loop of an hour at most, unless the cache has it.

    ``folder`` is the owner's folder: a former arrangement of it is removed from the cache unless it is played. Raises
    ``SettingsError`` if the cache takes no files, and what ``progress`` raises to cancel.
    """
    entry = arranged_entry(folder, parts, announcement, settings)
    try:
        entry.clean_former()
        if (found := entry.find()) is not None and (arranged := _arranged(entry, found, parts)) is not None:
            return arranged
        entry.clean()
        began = time.monotonic()
        with entry.unfinished() as made:
            assert isinstance(made, ArrangedEntry)
            report = _make(made, parts, announcement, settings, progress)
            found = entry.keep(made, report)
        arranged = _arranged(entry, found, parts, time.monotonic() - began)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SettingsError(no_room(entry.folder / DETAILS)) from None
        raise SettingsError(cannot_write(str(error))) from None
    if arranged is None:
        raise SettingsError(cannot_write(f"{str(entry.folder)!r} has changed; expected a folder of this server alone"))
    return arranged


def arranged_entry(
    folder: Path, parts: Sequence[Music], announcement: Optional[Music], settings: Settings
) -> ArrangedEntry:
    """The entry of the cache for these parts in this order."""
    contents = " ".join(map(_content, parts)) + (f" announced {_content(announcement)}" if announcement else "")
    digest = hashlib.sha256(f"{ARRANGED} {contents}".encode()).hexdigest()
    loudness = "off" if settings.loudness is None else f"{settings.loudness:g}"
    text = f"arrangement, loudness {loudness}" + (f", each {settings.announce:g} s" if announcement else "")
    return ArrangedEntry(*entry_of(cache_folder(settings), folder, digest, text, RATES))


def _content(part: Music) -> str:
    """A text that tells one converted content from another: content and settings in the name of its entry."""
    path = next(iter(part.paths.values()))
    name = re.fullmatch(r"\w{12}-(\w{12}-\w{12})", path.parent.name)
    return name[1] if name else digest_of(path)


def _arranged(entry: ArrangedEntry, found: Found, parts: Sequence[Music], took: float = 0.0) -> Optional[Arranged]:
    details = entry.details()
    if details is None or any(number >= len(parts) for number, _ in details.pieces):
        return None
    pieces = tuple((parts[number].source, at) for number, at in details.pieces)
    plain = entry.plain if details.plain else {}
    announcements = tuple(details.announcements)
    return Arranged(
        entry.paths, found.seconds, plain, details.plain_for, announcements, pieces, took, found.report, entry.folder,
        found.lock, _loudness([parts[number] for number, _ in details.pieces]),
    )  # fmt: skip


def _loudness(parts: Sequence[Music]) -> Optional[float]:
    """The loudness of pieces in a row: the mean of their power, by their length."""
    powers = [part.seconds * 10 ** (part.loudness / 10) for part in parts if part.loudness is not None]
    if not powers or len(powers) < len(parts):
        return None
    return round(10 * math.log10(sum(powers) / sum(part.seconds for part in parts)), 1)


def _make(
    made: ArrangedEntry,
    parts: Sequence[Music],
    announcement: Optional[Music],
    settings: Settings,
    progress: Optional[Progress],
) -> str:
    """Write all files of the entry but for the report, which is returned."""
    used = parts[: how_many_fit([part.seconds for part in parts])]
    ends = []
    for number, part in enumerate(used):
        with Sound(part.paths[TICKS], TICKS) as sound:
            ends.append(find_ends(sound.read, sound.length, round(part.tail * TICKS)))
        if progress:
            progress(0.05 * number / len(used))
    spoken = 0
    if announcement is not None:
        with Sound(announcement.paths[TICKS], TICKS) as sound:
            spoken = sound.length
    row = Row(ends)
    planned = plan(row.begins[1:], row.once, row.length_of, spoken, settings.announce)
    row = Row(ends, planned.repeats)
    twin = bool(planned.windows)
    needed = row.length / TICKS * OCTETS_A_SECOND * (2 if twin else 1)
    if needed > shutil.disk_usage(made.folder).free:
        raise SettingsError(no_room(made.folder, needed))
    ceiling = 32767.0 if settings.loudness is None else 32768 * 10 ** ((PEAK - MARGIN) / 20)
    written, whole = 0, len(RATES) * row.length * (2 if twin else 1)

    def step(ticks: int) -> None:
        nonlocal written
        written += ticks
        if progress:
            progress(min(1.0, 0.05 + 0.95 * written / whole))

    for rate in RATES:
        plain = made.plain[rate] if twin else made.paths[rate]
        if twin:
            make_empty(plain).close()
        write_row(row, [part.paths[rate] for part in used], plain, rate, ceiling, step)
        if twin and announcement is not None:
            write_announced(plain, announcement.paths[rate], planned.windows, made.paths[rate], rate, ceiling, step)
    details = Details(
        twin,
        first_at(settings.announce) / TICKS if twin else 0.0,
        list(seconds_of(planned.windows, spoken)),
        [(number % len(used), begin / TICKS) for number, begin in enumerate(row.begins)],
    )
    with make_empty(made.folder / DETAILS) as file:
        file.write(json.dumps(details._asdict()).encode())
    return _report(len(used), len(parts), planned, row.length, spoken)


def _report(used: int, parts: int, planned: Plan, length: int, spoken: int) -> str:
    """What was done, in words for the owner."""
    done = ["one piece" if used == 1 else f"{used} pieces in a row, without gaps"]
    if used < parts:
        done.append(f"the first {used} of {parts}, since more than {HOUR // TICKS // 60} min are not kept at once")
    if planned.repeats > 1:
        done.append(f"played {planned.repeats} times, so that the announcements are evenly apart")
    if spoken > LONGEST_SPOKEN:
        done.append(
            f"the announcement is not spoken: it has {spoken / TICKS / 60:.0f} min; "
            f"expected at most {LONGEST_SPOKEN // TICKS // 60}"
        )
    elif planned.windows:
        apart = length / TICKS / len(planned.windows)
        done.append(
            f"an announcement of {max(1, round(spoken / TICKS))} s every {apart:.0f} s on average, "
            f"over music that is {DEPTH:.0f} dB quieter"
        )
    return ", ".join(done)
