"""What the library does next: the names, their order, the room in the cache, and the messages for the server.

Events come in as method calls with the time; messages and steps come out. The librarian opens no file and converts
nothing: ``moh.library.__main__`` does that.

The law kept here: the names that the server sends are looked up in the list of names, and are used for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple, Optional

from ..mastering.arrange import OCTETS_A_SECOND
from ..mastering.form import Form
from ..mastering.prepare import Music
from .listing import Item, Listing
from .messages import Made, Message, names_in, names_message, radio_message, ready_message, state_message
from .names import Selection, bounded, default_of, names_of
from .store import Room
from .title import Arrange, Convert, Step, Title

HOUR = 3600.0
"""Seconds until a folder that is shuffled, or longer than an hour, gets its next hour."""
HEARD_FOR = 150.0
"""Seconds for which music counts as being heard: the server says each minute which is."""
ROOM_TIMEOUT = 30.0
"""Seconds that a name waits for the server to give up music that makes room for it."""
PUBLISH_EVERY = 2.0
"""Seconds between two lists of names that no scan has changed: another default, another note."""
MOST_UNTAKEN = 200
"""Names whose music the server may not have taken yet; then nothing more is converted until it has."""
WAITING, READY = ("waiting", ""), ("ready", "")
"""States with their reasons. A name without a message about its state is waiting."""


class Failure(NamedTuple):
    """Why a step has failed."""

    state: str
    """``refused``: the file, or what the system lacks; ``full``: no room."""
    why: str


class Librarian:
    """All names of one music folder."""

    def __init__(self, room: Room, folder: str, *, shuffle: bool = False, has_default: bool = False) -> None:
        """``folder`` is the folder's name for people. ``has_default`` says that the default is elsewhere."""
        self._room = room
        self._folder = str(PurePath(folder))  # notes about the folder begin as the server and the doctor write its name
        self._shuffle = shuffle
        self._has_default = has_default
        self._listing: Optional[Listing] = None
        self._folder_fault = ""
        self._is_settled = False
        self._leftovers: Optional[bool] = None
        self._items: Mapping[str, Item] = {}
        self._selections: Mapping[str, Selection] = {}
        self._notes: tuple[str, ...] = ()
        self._titles: dict[str, Title] = {}
        self._wanted: dict[str, None] = {}  # dialled names that are not ready, the most urgent one first
        self._needs: dict[tuple[str, Form], int] = {}  # octets in the cache of what once was converted
        self._ratios: dict[str, float] = {}  # octets in the cache for an octet of a file, by its ending
        self._outbox: list[Message] = []
        self._sent_states: dict[str, tuple[str, str]] = {}
        self._sent_radios: dict[str, Message] = {}
        self._sent_names: object = None
        self._is_stale = False
        self._publish_at = 0.0

    # -- events ----------------------------------------------------------------------------------------------------

    def scanned(
        self, listing: Listing, is_settled: bool, is_complete: Callable[[str], bool], fault: str, now: float
    ) -> None:
        """A scan of the folder. ``is_settled`` says that all files are complete, ``fault`` what the folder lacks."""
        is_new = listing_changed(listing, self._listing)
        if not is_new and is_settled and self._is_settled and fault == self._folder_fault:
            return
        if self._folder_fault and not fault:
            self.check()  # what has failed meanwhile has failed because the folder was away
        self._is_settled, self._folder_fault = is_settled, fault
        if is_new:
            self._listing = listing
            self._items = listing.files()
            self._selections, self._notes = (found := names_of(listing, self._shuffle)).selections, found.notes
            self._titles = {name: self._title_of(one) for name, one in self._selections.items()}
            self._wanted = {name: None for name in self._wanted if name in self._titles}
        for name, selection in self._selections.items():
            title = self._titles[name]
            title.update(selection, self._items, is_complete, now)
            if selection.fault:
                title.state, title.why = "refused", selection.fault
            elif not selection.pieces:
                title.state, title.why = WAITING  # the radio's own process says more
        for gone in self._sent_states.keys() - self._titles.keys():
            del self._sent_states[gone]
        for gone in self._sent_radios.keys() - self._titles.keys():
            del self._sent_radios[gone]
        self._publish()
        for title in self._titles.values():
            if title.selection.addresses:
                radio = radio_message(title.selection)
                if self._sent_radios.get(title.name) != radio:
                    self._sent_radios[title.name] = radio
                    self._outbox.append(radio)
            else:
                self._sent_radios.pop(title.name, None)
            self._say_state(title)

    def _title_of(self, selection: Selection) -> Title:
        """The title of a name, a new one where what is behind the name is of another kind than before."""
        title = self._titles.get(selection.name)
        if title is not None and title.selection.kind == selection.kind:
            return title
        self._sent_states.pop(selection.name, None)
        return Title(selection)

    def receive(self, message: Mapping[str, Any], now: float) -> None:
        """A message of the server. Names that are not in the list are ignored."""
        names = [name for name in names_in(message) if name in self._titles]
        if message["do"] == "want":
            for name in names:
                dialled = self._titles[name]
                dialled.dialled_at = now
                if dialled.state == "full" and not dialled.failures:
                    dialled.retry_at = now  # other music may make room for it
            self._wanted = dict.fromkeys([*(name for name in names if self._titles[name].is_due), *self._wanted])
        elif message["do"] == "heard":
            for name in names:
                self._titles[name].dialled_at = now
        elif message["do"] == "taken":
            title = self._titles.get(str(message.get("name")))
            if title is not None and title.made is not None and message.get("folders") == [title.folder]:
                title.made = None

    def check(self) -> None:
        """Try again what has failed: the owner has asked for it (SIGHUP), or the folder is back."""
        for title in self._titles.values():
            title.failures = 0
            if title.state in ("refused", "full") and not title.selection.fault:
                title.state, title.why = "waiting", ""
            if title.faults:
                title.built = None
            title.faults.clear()
            title.begin_anew()

    def check_cache(self, is_there: Callable[[str], bool]) -> None:
        """Let the music be made again that another program has removed from the cache."""
        for title in self._titles.values():
            if title.folder and not is_there(title.folder):
                title.lose()
                self._say_state(title)

    # -- what to do next -------------------------------------------------------------------------------------------

    @property
    def default(self) -> Optional[str]:
        """The name that plays for names that are not there."""
        if self._has_default:
            return None
        return default_of(self._selections, {name for name, one in self._titles.items() if one.state == "refused"})

    @property
    def is_default_ready(self) -> bool:
        """Whether the default plays, or is elsewhere."""
        default = self.default
        return self._has_default or (default is not None and bool(self._titles[default].folder))

    def next_step(self, now: float, hour: str) -> Optional[Step]:
        """What is to be done now. ``hour`` decides the order of shuffled folders; each hour has another one."""
        if self._folder_fault or sum(title.made is not None for title in self._titles.values()) >= MOST_UNTAKEN:
            return None
        default = self.default
        for title in self._titles.values():
            if title.has_more and not title.is_due and now - title.made_at >= HOUR:
                if title.dialled_at > title.made_at or title.name == default:
                    title.turn(hour)
            elif not title.hour:
                title.hour = hour
        self._leftovers = None
        urgent = [name for name in (*([default] if default else []), *self._wanted) if self._is_due(name, now)]
        for name in urgent:
            if (step := self._gate(self._titles[name], True, now)) is not None:
                return step
        if any(self._titles[name].room_until > now for name in urgent):
            return None  # what is converted now would take the room that is being made
        for name in self._titles:
            if self._is_due(name, now) and (step := self._gate(self._titles[name], False, now)) is not None:
                return step
        return None

    def _is_due(self, name: str, now: float) -> bool:
        title = self._titles[name]
        return title.is_due and now >= title.retry_at

    def _gate(self, title: Title, is_urgent: bool, now: float) -> Optional[Step]:
        """The next step of a name; ``None`` where it has none, or where the cache has no room for it now."""
        step = title.next_step()
        if step is None:
            return None
        missing, why = self._room.missing(self._predicted(step))
        if missing <= 0:
            return step
        if not title.looked_up:
            title.looked_up = True
            return step._replace(may_convert=False)
        if is_urgent or self._has_leftovers(now):
            freed = self._room.free_up(missing, self.protected(), now)
            self._leftovers = freed > 0 if self._leftovers else self._leftovers
            if freed >= missing:
                return step
            missing -= freed
        if now < title.room_until:
            return None
        if is_urgent and self._evict(missing, title, now):
            title.room_until = now + ROOM_TIMEOUT
            return None
        title.state, title.why = "full", why
        title.retry_at = now + ROOM_TIMEOUT
        self._say_failure(title)
        return None

    def _has_leftovers(self, now: float) -> bool:
        """Whether entries of the cache may go for a name that was not dialled; asked once in ``next_step``.

        As long as there are names that were not looked up in the cache, they may be theirs.
        """
        if self._leftovers is None:
            titles = self._titles.items()
            self._leftovers = all(title.looked_up or not self._is_due(name, now) for name, title in titles)
        return self._leftovers

    def _predicted(self, step: Step) -> int:
        """The octets that the result takes, as far as that can be known; 0 where nothing is known."""
        if isinstance(step, Arrange):
            octets = int(OCTETS_A_SECOND * sum(part.seconds for part in step.parts))
            return octets if step.announcement is None else 2 * octets
        if (known := self._needs.get((step.path, step.form))) is not None:
            return known
        return int(self._ratios.get(_ending(step.path), 0.0) * _size(self._items.get(step.path)))

    def _evict(self, octets: int, urgent: Title, now: float) -> bool:
        """Give up the music that no caller has heard for longest, until ``octets`` are free. Return whether any is.

        The server frees its files soon; they are removed from the cache when no call hears them.
        """
        default = self.default
        victims = [
            title
            for title in reversed(self._titles.values())
            if title.folder and title.state == "ready" and title is not urgent
            and title.name != default and title.name not in self._wanted and now - title.dialled_at > HEARD_FOR
        ]  # fmt: skip
        victims.sort(key=lambda title: title.dialled_at)
        found = False
        for title in victims:
            if octets <= 0:
                break
            octets -= self._room.size_of(_entry(title.folder))
            title.drop("the cache is full: it made room for a name that was dialled")
            title.retry_at = now + 2 * ROOM_TIMEOUT
            self._say_state(title)
            found = True
        return found

    def tidy(self, now: float) -> None:
        """Remove from the cache what is in excess: a result that did not fit, pieces that were put together."""
        missing, _ = self._room.missing(0)
        if missing > 0:
            self._room.free_up(missing, self.protected(), now)

    def protected(self) -> set[str]:
        """The entries of the cache that are not to be removed."""
        folders = {_entry(title.folder) for title in self._titles.values() if title.folder}
        return folders | {_entry(str(part.folder)) for title in self._titles.values() for part in title.parts.values()}

    # -- results ---------------------------------------------------------------------------------------------------

    def began(self, step: Step) -> None:
        """The conversion of a name has begun: the cache does not have it."""
        title = self._titles.get(step.name)
        if title is not None and title.state != "ready":
            title.state, title.why = "converting", ""
            self._say_state(title)

    def finished(self, step: Step, made: Made, now: float) -> None:
        """A step is done."""
        title = self._titles.get(step.name)
        octets = self._room.size_of(_entry(str(made.folder)))
        if isinstance(step, Convert) and octets:
            self._needs[step.path, step.form] = octets
            if size := _size(self._items.get(step.path)):
                self._ratios[_ending(step.path)] = octets / size
        if title is None or title.next_step() != step._replace(may_convert=True):
            return  # the folder has changed meanwhile
        if isinstance(step, Convert) and step.form is not Form.LOOP:
            assert isinstance(made, Music)
            title.converted(step, made)
            return
        if not self._has_room_for(title, made, now):
            return
        self._wanted.pop(title.name, None)
        is_new = title.finish(made, now)
        if is_new or self._sent_states.get(title.name) != READY:
            title.made = made
            self._outbox.append(ready_message(title.name, made))
            self._sent_states[title.name] = READY
        self._is_stale = True

    def _has_room_for(self, title: Title, made: Made, now: float) -> bool:
        """Whether what was made may stay, after other entries have left the cache for it where that is due."""
        missing, why = self._room.missing(0)
        if missing <= 0:
            return True
        keep = {*self.protected(), _entry(str(made.folder))}
        missing -= self._room.free_up(missing, keep, now)
        is_urgent = title.name == self.default or title.name in self._wanted
        if missing <= 0 or (is_urgent and self._evict(missing, title, now)):
            return True
        title.failed("full", why, now, 0.0)
        self._say_failure(title)
        return False

    def failed(self, step: Step, failure: Failure, now: float, took: float) -> None:
        """A step has failed after ``took`` seconds."""
        title = self._titles.get(step.name)
        if title is None or title.next_step() != step._replace(may_convert=True):
            return
        if failure.state == "full" and not step.may_convert:
            return  # the cache does not have it: the next call of ``next_step`` decides
        if failure.state == "refused" and title.fault(step, failure.why):
            self._is_stale = True
            return  # the others play without this file
        if failure.state == "refused":
            self._wanted.pop(title.name, None)
        title.failed(failure.state, failure.why, now, took)
        self._say_failure(title)
        self._is_stale = True

    # -- messages --------------------------------------------------------------------------------------------------

    def drain(self, now: float) -> list[Message]:
        """The messages for the server since the last call."""
        if self._is_stale and now >= self._publish_at:
            self._publish_at = now + PUBLISH_EVERY
            self._publish()
        found, self._outbox = self._outbox, []
        return found

    def _say_failure(self, title: Title) -> None:
        """Send why the music of a name is not ready. Former music of it plays on: the name is not "full" then."""
        if title.folder:
            self._send_state(title.name, ("waiting" if title.state == "full" else title.state, title.why))
            title.state, title.why = READY
        else:
            self._say_state(title)

    def _say_state(self, title: Title) -> None:
        if title.state != "ready":
            self._send_state(title.name, (title.state, title.why))

    def _send_state(self, name: str, state: tuple[str, str]) -> None:
        if self._sent_states.get(name, WAITING) != state:
            self._outbox.append(state_message(name, *state))
        self._sent_states[name] = state

    def _publish(self) -> None:
        """Send the list of names if it has changed. The states of names that the server does not know follow it."""
        self._is_stale = False
        notes = [f"{self._folder}: {self._folder_fault}"] if self._folder_fault else []
        notes += [*self._notes, *(note for title in self._titles.values() for note in title.notes)]
        selections = [*self._selections.values()]
        rows = [(one.name, one.kind, len(one.pieces)) for one in selections]
        current = (rows, self.default, bounded(notes))
        if current != self._sent_names:
            self._sent_names = current
            self._outbox += names_message(selections, self.default, bounded(notes), self._folder)


def listing_changed(new: Listing, old: Optional[Listing]) -> bool:
    """Whether a listing differs from the former one in more than its time."""
    return old is None or (new.items, new.inside, new.texts) != (old.items, old.inside, old.texts)


def _entry(folder: str) -> str:
    """The name of an entry of the cache."""
    return folder.rpartition("/")[2]


def _ending(path: str) -> str:
    return path.rpartition(".")[2].casefold()


def _size(item: Optional[Item]) -> int:
    return item.facts[2] if item is not None and len(item.facts) > 2 else 0
