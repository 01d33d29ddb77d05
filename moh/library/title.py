"""One name on its way to music: which step comes next, from what is known of its pieces. Nothing here has a clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Union

from ..mastering.form import Form
from ..mastering.prepare import Music
from .listing import Facts, Item
from .messages import Made
from .names import Selection, shown
from .order import from_piece, hour_of, shuffled

PATIENCE = 60.0
"""Seconds for which a folder waits for files of it that are still being copied, before it plays without them."""
RETRY_EVERY, RETRY_SHARE = 60.0, 20.0
"""Seconds until what has failed is tried again, and the same in lengths of the attempt; each time twice as long."""
LONGEST_RETRY = 86400.0


class Convert(NamedTuple):
    """A file is to be converted."""

    name: str
    path: str
    form: Form
    may_convert: bool = True
    """Whether it may be converted; otherwise it is only looked up in the cache."""


class Arrange(NamedTuple):
    """Pieces are to be put together. ``source`` tells arrangements of one name from those of another."""

    name: str
    source: str
    parts: tuple[Music, ...]
    announcement: Optional[Music]
    may_convert: bool = True


Step = Union[Convert, Arrange]


class Files(NamedTuple):
    """What a name is made of: its complete files, with what tells their state."""

    pieces: tuple[tuple[str, Facts], ...] = ()
    announcement: tuple[tuple[str, Facts], ...] = ()
    shuffled: bool = False


@dataclass
class Title:
    """A name, and how far it is. ``files`` is what is there; ``built`` is what the music that is ready was made of."""

    selection: Selection
    files: Files = field(default_factory=Files)
    built: Optional[Files] = None
    state: str = "waiting"
    """``waiting``, ``converting``, ``refused``, ``full``; or ``ready``."""
    why: str = ""
    looked_up: bool = False
    """Whether the cache was searched for these files."""
    folder: str = ""
    """The folder of the cache with the music that is ready."""
    made: Optional[Made] = None
    """What is ready, until the server has its own lock."""
    lengths: dict[tuple[str, Facts], float] = field(default_factory=dict)
    faults: dict[tuple[str, Facts], str] = field(default_factory=dict)
    """Why files of this state are not played."""
    parts: dict[str, Music] = field(default_factory=dict)
    """Files of it that are converted: they stay in the cache until they are put together."""
    retry_at: float = -math.inf
    failures: int = 0
    room_until: float = -math.inf
    """Until when it waits for music of others to leave the cache."""
    dialled_at: float = -math.inf
    """When a caller dialled or heard it last."""
    made_at: float = -math.inf
    hour: str = ""
    """What decides the order of a shuffled folder."""
    first: Optional[str] = None
    """The piece that the hour begins with."""
    after: Optional[str] = None
    """The piece that the next hour begins with; ``None`` where this hour holds all pieces."""
    _waits_since: float = math.inf

    def update(self, selection: Selection, items: Mapping[str, Item], is_complete: Callable[[str], bool],
               now: float) -> None:  # fmt: skip
        """Take note of a scan of the music folder."""
        wanted = [*selection.pieces, *([selection.announcement] if selection.announcement else [])]
        complete = {path: items[path].facts for path in wanted if path in items and is_complete(path)}
        self.selection = selection
        if len(complete) < len(wanted):
            self._waits_since = min(self._waits_since, now)
            if not complete or now - self._waits_since < PATIENCE:
                return
        else:
            self._waits_since = math.inf
        pieces = tuple((path, complete[path]) for path in selection.pieces if path in complete)
        spoken = selection.announcement
        files = Files(pieces, ((spoken, complete[spoken]),) if spoken in complete else (), selection.shuffled)
        if files != self.files:
            self.files = files
            self.begin_anew()
            self.failures = 0
            if not pieces:
                self.built = self.made = None
                self.folder = ""
            if self.state in ("refused", "full") or not pieces:
                self.state, self.why = "waiting", ""

    def begin_anew(self) -> None:
        """Forget what is half done."""
        self.parts.clear()
        self.looked_up = False
        self.retry_at = self.room_until = -math.inf
        known = {*self.files.pieces, *self.files.announcement}
        self.lengths = {file: seconds for file, seconds in self.lengths.items() if file in known}
        self.faults = {file: why for file, why in self.faults.items() if file in known}

    @property
    def is_due(self) -> bool:
        """Whether there is something to convert, now or after a pause."""
        return bool(self.files.pieces) and self.built != self.files

    @property
    def has_more(self) -> bool:
        """Whether another hour has other music."""
        return self.after is not None or (self.files.shuffled and len(self.files.pieces) > 1)

    def turn(self, hour: str) -> None:
        """Let the next hour be made."""
        self.hour, self.first = hour, self.after
        self.built = None
        self.parts.clear()
        self.looked_up = False

    def next_step(self) -> Optional[Step]:
        """What is to be done next; ``None`` where no piece can be played."""
        usable = [file for file in self.files.pieces if file not in self.faults]
        spoken = next((file for file in self.files.announcement if file not in self.faults), None)
        if not usable:
            return None
        if spoken is None and len(usable) == 1:
            self.after = None
            return Convert(self.name, usable[0][0], Form.LOOP)
        if spoken is not None and spoken[0] not in self.parts:
            return Convert(self.name, spoken[0], Form.SPEECH)
        order = [path for path, _ in usable]
        order = shuffled(order, f"{self.name} {self.hour}") if self.files.shuffled else from_piece(order, self.first)
        lengths = {file[0]: self.lengths[file] for file in usable if file in self.lengths}
        hour = hour_of(order, lengths)
        missing = next((path for path in hour.pieces if path not in self.parts), hour.unknown)
        if missing is not None:
            return Convert(self.name, missing, Form.PIECE)
        self.after = order[len(hour.pieces)] if len(hour.pieces) < len(order) else None
        announcement = self.parts[spoken[0]] if spoken is not None else None
        return Arrange(self.name, self._source(order), tuple(self.parts[path] for path in hour.pieces), announcement)

    def _source(self, order: Sequence[str]) -> str:
        """What an arrangement is of: the folder. A piece with the announcement of the music folder is itself one."""
        folder, slash, _ = order[0].partition("/")
        return folder if slash else f"{order[0]} with its announcement"

    @property
    def name(self) -> str:
        """The name."""
        return self.selection.name

    def converted(self, step: Convert, music: Music) -> None:
        """Keep a part."""
        file = self._file(step.path)
        if file is not None:
            self.parts[step.path] = music
            self.lengths[file] = music.seconds
        self.failures = 0

    def fault(self, step: Step, why: str) -> bool:
        """Note that a file cannot be played. Return whether the name can be played without it."""
        if isinstance(step, Arrange) or (step.form is Form.LOOP and len(self.files.pieces) == 1):
            return False
        if (file := self._file(step.path)) is None:
            return False
        self.faults[file] = why
        return any(each not in self.faults for each in self.files.pieces)

    def failed(self, state: str, why: str, now: float, took: float) -> None:
        """Note that the name cannot be played now. It is tried again after a pause."""
        self.state, self.why = state, why
        pause = max(RETRY_EVERY, RETRY_SHARE * took) * 2**self.failures
        self.retry_at = now + min(LONGEST_RETRY, pause)
        self.failures = min(self.failures + 1, 16)
        self.parts.clear()
        if all(file in self.faults for file in self.files.pieces):
            self.faults.clear()  # the next attempt asks again

    def finish(self, made: Made, now: float) -> bool:
        """Note that the music is ready. Return whether it is other music than before."""
        is_new = self.folder != str(made.folder)
        self.built, self.made_at = self.files, now
        self.state, self.why, self.failures = "ready", "", 0
        self.folder = str(made.folder)
        self.parts.clear()
        return is_new

    def drop(self, why: str) -> None:
        """The music leaves the cache."""
        self.built = self.made = None
        self.folder = ""
        self.state, self.why = "full", why

    def lose(self) -> None:
        """The music is not in the cache any more: it is made again."""
        self.built = self.made = None
        self.folder = ""
        self.state, self.why = "waiting", ""
        self.begin_anew()

    @property
    def notes(self) -> list[str]:
        """Which of its files are not played, and why."""
        return [f"{shown(path)} is not played: {why}" for (path, _), why in self.faults.items()]

    def _file(self, path: str) -> Optional[tuple[str, Facts]]:
        return next((file for file in (*self.files.pieces, *self.files.announcement) if file[0] == path), None)
