"""Music by the dialled name: the server's end of the library, a process of its own (``python3 -m moh.library``).

The library reads the owner's folder and converts its music; this module has the engines and the core play it. The laws
kept here: each turn does a bounded amount of work, whatever the folder holds; and where the library's process dies, all
that plays plays on, and nothing is added twice when the next process announces it again.

Only the main thread uses this module.
"""

from __future__ import annotations

import logging
import resource
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..common.amounts import amount
from ..common.faults import FaultLog
from ..sip.user_agent import UserAgent
from .child import Child, Message
from .engines import Engines
from .name_log import MOST_TEXT, NameLog
from .name_table import RADIO, Name, NameTable
from .named_music import music_of, shown
from .now_playing import NowPlaying
from .radios import Fallback, Radios

COMMAND = (sys.executable, "-m", "moh.library")
ENDED = "the library has ended: %s. Calls go on, and names play what they have; it starts again in %g s"
MOST_AT_ONCE = 50
"""Messages that are handled in one turn: some milliseconds, most of them for locks."""
NAMES_AS_ONE = 20
"""Names of a list that are as much work as one other message."""
APPLY_EVERY, APPLY_QUICKLY, MOST_QUICKLY = 1.0, 0.1, 1000
"""Seconds from one time that the engines and the core get new tunes, and go through all calls, to the next. The second,
shorter time is for fewer names and calls than the third number."""
ASK_EVERY = 1.0
"""Seconds between two times that the core is asked which names callers dialled in vain."""
HEARD_EVERY = 60.0
"""Seconds between two lists for the library of the names that calls hear, and of those that they dialled in vain."""
MOST_WANTED = 100
"""Names that are remembered because callers dialled them in vain."""
RETRY_EVERY = 60.0
"""Seconds until a thread that the system could not start is tried again."""

log = logging.getLogger("moh")


class Library:
    """Has names play. ``lock`` guards ``agent``, and ``drive`` takes it and returns whether the step succeeded."""

    def __init__(
        self, folder: Path, agent: UserAgent, lock: threading.Lock, drive: Callable[..., Any], engines: Engines,
        now_playing: NowPlaying, environment: Optional[Mapping[str, str]] = None, command: Sequence[str] = COMMAND,
    ) -> None:  # fmt: skip
        """``environment`` is that of both processes; without one they have this process's."""
        self.faults = FaultLog("the library")
        self.table = NameTable()
        self.table.folder = str(folder)
        self.radios = Radios(environment)
        self._folder = folder
        self._agent = agent
        self._lock = lock
        self._drive = drive
        self._engines = engines
        self._now_playing = now_playing
        self._child = Child("the library", ENDED, command, self.faults, converses=True, environment=environment)
        self._starts = 0
        self._start_at = 0.0
        self._apply_at = 0.0
        self._ask_at = 0.0
        self._heard_at = 0.0
        self._changed = False
        self._has_former = False  # whether calls may hear a tune that no name has any more
        self._wanted: dict[str, None] = {}  # names that were dialled in vain lately
        self._log = NameLog()
        self._most_handles = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._gone_radios: dict[str, Optional[int]] = {}  # calls hear them yet: the number of the tune of each

    @property
    def pid(self) -> Optional[int]:
        """The number of the library's process."""
        return self._child.pid

    def service(self, now: float) -> None:
        """Do what is due. Never waits."""
        if not self._child.started and now >= self._start_at:
            self._start_at = now + RETRY_EVERY
            self._child.start()
        if self._child.starts != self._starts:
            self._starts = self._child.starts
            self.table.begin_again()
            self._heard_at = now
        left = MOST_AT_ONCE
        while left > 0 and (messages := self._child.drain(1)):
            left -= self._take_message(messages[0], now)
        self._changed |= self.radios.service(now)
        if now >= self._ask_at:
            self._ask_at = now + ASK_EVERY
            self._log.service(self.table, now)
            self._log.radios(self.radios.radios, now)
            self._ask_for_names(now)
            self._free_music()
        if now >= self._apply_at:
            few = len(self.table.names) + self._agent.calls < MOST_QUICKLY
            self._apply_at = now + (APPLY_QUICKLY if few else APPLY_EVERY)
            self._apply()

    def check_now(self) -> None:
        """Have the library read the folder anew (SIGHUP)."""
        log.info("the music folder %s is read anew", shown(self._folder))
        self._child.send({"do": "check"})

    def end(self) -> None:
        """Have both processes end soon."""
        self._child.end()
        self.radios.end()

    def close(self) -> None:
        """End both processes."""
        self.end()
        self._child.close()
        self.radios.close()

    # -- what the library says -------------------------------------------------------------------------------------

    def _take_message(self, message: Message, now: float) -> int:
        """Handle a message. Return how much work that was, in messages about one name."""
        try:
            self._handle(message, now)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.faults.report(error, now, f"a message of the library: {str(message)[:200]}")
        names = message.get("names")
        return 1 + (len(names) // NAMES_AS_ONE if isinstance(names, list) else 0)

    def _handle(self, message: Message, now: float) -> None:
        what = message["what"]
        if what == "names":
            for gone in self.table.replace(message):
                self._retire(gone)
            if not message.get("more"):
                self._changed, self._apply_at = True, now  # a name that is gone shows as gone, and plays no more
        elif what == "state":
            self._changed |= self.table.note_state(message)
            row = self.table.names.get(message["name"])
            if row is not None and (row is not self._logged_elsewhere or row.number is not None):
                self._log.state(row.name, row.state, row.why, now)
            self._changed |= self.table.default in (None, message["name"])
        elif what == "ready":
            self._hold(message, now)
        elif what == "radio":
            self.table.note_radio(message)
            self._changed = True
        elif what == "cache":
            self.table.cache = {"used": int(message["used"]), "limit": int(message["limit"])}

    def _hold(self, message: Message, now: float) -> None:
        """Lock the files of a name that is ready, and send the library "taken"."""
        try:
            music = music_of(message, self._most_handles)
        except OSError as error:  # a process that has died held it no longer, and another server removed it
            log.debug("%r is announced again, since its music is gone: %s", message["name"], error)
            return
        if self.table.note_ready(music):
            self._changed = True
            if self.table.names[music.name] is not self._logged_elsewhere:
                self._log.ready(music.name, music.summary(), now)
        if music.is_locked:
            self._child.send({"do": "taken", "name": music.name, "folders": message["folders"]})

    @property
    def _logged_elsewhere(self) -> Optional[Name]:
        """The default, where ``NowPlaying`` logs what it is."""
        return self.table.default_row if self._now_playing.takes_default else None

    def _ask_for_names(self, now: float) -> None:
        with self._lock:
            wanted = self._agent.names_wanted()
        if now >= self._heard_at:  # what a process that has died was asked for, its successor does not know
            names = self.table.names
            lack = [name for name in self._wanted if name in names and names[name].number is None]
            self._wanted = dict.fromkeys(lack)
            wanted = [*wanted, *(name for name in lack if name not in wanted)]
        if wanted:
            self._wanted.update(dict.fromkeys(wanted[: MOST_WANTED - len(self._wanted)]))
            self._child.send({"do": "want", "names": wanted})
        if now >= self._heard_at:
            self._heard_at = now + HEARD_EVERY
            if heard := self.callers():
                self._child.send({"do": "heard", "names": list(heard)})

    def callers(self) -> dict[str, int]:
        """How many calls hear each name. Those that hear the folder's default count for its name."""
        with self._lock:
            found = self._agent.callers_by_name()
        default, name = found.pop("", 0), self.table.default
        if default and name is not None and self._now_playing.takes_default:
            found[name] = found.get(name, 0) + default
        return found

    # -- what plays ------------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        """Give the engines and the core what has changed since the last time."""
        self._end_gone_radios()
        if not (self._changed or self._now_playing.wants_default):
            return
        self._changed = False
        self._play_radios()
        for row in self.table.names.values():
            self._add(row)
        numbers = {row.name: row.number for row in self.table.names.values()}
        if self._drive(self._agent.names_ready, numbers) is False:
            self._changed = True
            return
        self._play_default()
        self._has_former = True
        self._free_music()

    def _add(self, row: Name) -> None:
        """Make a tune of what the name plays, if that is new."""
        plays = row.music if row.ring is None else row.ring
        if plays is not row.added:
            row.number = None if plays is None else self._engines.add_tune(plays.tune)
            row.added = plays

    def _free_music(self) -> None:
        """Drop the tunes that no name has any more, as soon as no call hears them: they take room in the cache."""
        if not self._has_former:
            return
        with self._lock:
            tunes = self._agent.tunes
        self._engines.keep(tunes)
        playing = self._now_playing.music
        own = {row.number for row in self.table.names.values()} | {None if playing is None else playing.number}
        self._has_former = not tunes <= own

    def _play_default(self) -> None:
        """Have callers of other names hear the default, where the owner has given no file for that."""
        row, playing = self.table.default_row, self._now_playing
        playing.wants_default = False
        if not playing.takes_default or not self.table.is_known:
            return
        if row is not None and row.number is not None:
            music = row.playable
            if music is not None:
                playing.use_default(music, row.number)
        elif row is None:
            if why := self._why_no_default():
                playing.miss_default(f"Cannot play {shown(Path(self.table.folder))}: {why}")
        elif row.why:
            playing.miss_default(row.why)

    def _why_no_default(self) -> str:
        """Empty while it is not known yet."""
        names = self.table.names.values()
        if not names:
            of_folder = f"{self.table.folder}: "
            for note in self.table.notes:
                if note.startswith(of_folder):
                    return note[len(of_folder) :]
            return "a folder without music; expected files such as jazz.mp3 in it, or folders with such files"
        faults = [f"{row.name[:MOST_TEXT]!r}: {row.why}" for row in names if row.why]
        if not faults:
            return ""
        return f"nothing in it can be played ({amount(len(names), 'name')}, the first is {faults[0]})"

    # -- radios ----------------------------------------------------------------------------------------------------

    def _play_radios(self) -> None:
        """Have the radios play that the library names, with what each of them falls back to."""
        for row in self.table.names.values():
            if row.kind == RADIO and row.wish is not None:
                fallback = self._fallback_of(row)
                if fallback is not None:
                    self._gone_radios.pop(row.name, None)
                    self.radios.play(row.name, row.wish.addresses, row.wish.lists, fallback)
                    row.ring = self.radios.radios[row.name].ring
            elif row.name in self.radios.radios and row.name not in self._gone_radios:
                self._retire(row)

    def _fallback_of(self, row: Name) -> Optional[Fallback]:
        assert row.wish is not None
        default = self.table.default_row if self._now_playing.takes_default else None
        for name in (self.table.names.get(row.wish.fallback) if row.wish.fallback else None, default):
            if name is not None and name.music is not None:
                return Fallback(dict(name.music.paths), name.music.seconds, name.music)
        music = self._now_playing.recorded
        return None if music is None else Fallback(dict(music.paths), music.seconds, music)

    def _retire(self, row: Name) -> None:
        """The name is a radio no more: it plays on as long as a call hears it."""
        if row.name in self.radios.radios:
            self._gone_radios[row.name] = row.number
        row.ring = row.wish = None

    def _end_gone_radios(self) -> None:
        if self._gone_radios:
            with self._lock:
                heard = self._agent.tunes
            for name, number in list(self._gone_radios.items()):
                if number not in heard:
                    del self._gone_radios[name]
                    self.radios.stop(name)
