"""The names by which callers choose their music: what a user part says, which tune it means, which names are missing.

The laws kept here: a name from the wire is looked up in a list and nothing else, so it never becomes a path. A name
that is not there, or whose music is not ready, costs no call: the default plays. All tables are bounded, whatever
callers dial.
"""

from __future__ import annotations

import re
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping
from difflib import get_close_matches
from heapq import nsmallest
from operator import eq
from typing import NamedTuple, Optional, Union

MOST_OCTETS = 255
"""The longest name, in UTF-8: as long as the longest name of a file. What is longer is cut, and "…" follows."""
MOST_ESCAPED = 3 * MOST_OCTETS
"""The most characters of a user part that are read: each octet of the longest name as an escape."""
ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
MOST_MISSING = 50
"""Names that callers dialled and that are not there, as far as they are remembered."""
MOST_CANDIDATES, MOST_ALIKE = 1000, 30
"""Names that are compared with one that is not there: at a glance, and by all their letters."""
LONGEST_ALIKE = 32
"""Characters of the longest name for which the nearest one is sought."""
LIKENESS = 0.7
"""How much a name has to be like another one (``difflib``) to be taken for a slip of it."""


def name_of(user: Union[str, bytes]) -> str:
    """The name that the user part of a SIP URI dials (RFC 3261 §19.1.4).

    It is what comes before the first ``;`` or ``:``, with its escapes decoded as UTF-8, in the form NFC. Upper and
    lower case differ. Octets that are no UTF-8 become U+FFFD. The text may hold any character: slashes, dots, NUL.
    """
    text = user.decode("utf-8", "surrogateescape") if isinstance(user, bytes) else user
    text = text.partition(";")[0].partition(":")[0]
    if len(text) <= MOST_OCTETS and "%" not in text and text.isascii():
        return text
    try:
        octets = text[:MOST_ESCAPED].encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a text that was no message
        octets = text[:MOST_ESCAPED].encode("utf-8", "replace")
    octets = ESCAPE.sub(_octet, octets)
    too_long = len(text) > MOST_ESCAPED or len(octets) > MOST_OCTETS
    name = unicodedata.normalize("NFC", octets[:MOST_OCTETS].decode("utf-8", "replace"))
    return f"{name}…" if too_long else name


def _octet(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 16),))


class Selection(NamedTuple):
    """What one caller has dialled, and what plays to it."""

    tune: int
    name: str = ""
    """The name that plays; empty for the default."""
    dialled: str = ""
    """The name that was dialled."""


class MissingName(NamedTuple):
    """A name that callers dialled and that is not there."""

    name: str
    calls: int
    at: float
    """When it was dialled last."""


class MusicNames:
    """The names of the owner's library with their tunes, and what callers dial."""

    def __init__(self) -> None:
        self._tunes: Mapping[str, Optional[int]] = {}
        self._active = False
        self._wanted: dict[str, None] = {}
        self._missing: OrderedDict[str, MissingName] = OrderedDict()
        self._logged: set[str] = set()  # those of the missing names that have a line in the log
        self._by_folded: dict[str, str] = {}  # the names by their case-folded form; made when it is needed

    def replace(self, tunes: Mapping[str, Optional[int]]) -> None:
        """Take over all names that there are. ``None`` is the tune of a name whose music is not ready."""
        self._active = True
        if self._tunes.keys() != tunes.keys():
            self._by_folded = {}
        self._tunes = dict(tunes)
        self._wanted = {name: None for name in self._wanted if self.is_unready(name)}
        for name in [name for name in self._missing if name in self._tunes]:
            del self._missing[name]
            self._logged.discard(name)

    @property
    def tunes(self) -> set[int]:
        """The tunes of all names."""
        return {tune for tune in self._tunes.values() if tune is not None}

    def select(self, user: str, default: int) -> Selection:
        """What plays to a caller that dialled ``user``, the user part of its Request-URI. ``default`` is a tune."""
        dialled = name_of(user)
        tune = self._tunes.get(dialled)
        return Selection(default, "", dialled) if tune is None else Selection(tune, dialled, dialled)

    def is_unready(self, name: str) -> bool:
        """Whether ``name`` is there, and its music is not ready."""
        return name in self._tunes and self._tunes[name] is None

    # -- what was dialled ------------------------------------------------------------------------------------------

    def note(self, dialled: str, now: float) -> bool:
        """Note that a caller dialled this name. Return whether the log should say that it is not there."""
        if self.is_unready(dialled):
            self._wanted[dialled] = None
        if not self._active or not dialled or dialled in self._tunes:
            return False
        former = self._missing.pop(dialled, None)
        self._missing[dialled] = MissingName(dialled, 1 if former is None else former.calls + 1, now)
        if len(self._missing) > MOST_MISSING:
            self._logged.discard(self._missing.popitem(last=False)[0])
        return dialled not in self._logged

    def note_line(self, missing: str) -> None:
        """Note that the log has a line about this name, one of those that are missing."""
        self._logged.add(missing)

    def take_wanted(self) -> list[str]:
        """The names that callers dialled since the last call of this method and that are not ready, in that order."""
        wanted, self._wanted = self._wanted, {}
        return list(wanted)

    @property
    def missing(self) -> list[MissingName]:
        """The names that are not there; the one that was dialled last comes first."""
        return list(reversed(self._missing.values()))

    def nearest(self, dialled: str) -> str:
        """The name that ``dialled``, which is not there, may be a slip of; empty if there is none.

        It is the same name in another case, or one that is nearly the same. For 10,000 names this takes 1 to 20 ms.
        """
        if not self._by_folded:
            for name in self._tunes:
                self._by_folded.setdefault(name.casefold(), name)
        folded = dialled.casefold()
        if folded in self._by_folded or len(folded) > LONGEST_ALIKE:
            return self._by_folded.get(folded, "")
        ends, longest, shortest = (folded[:1], folded[-1:]), len(folded) + 2, len(folded) - 2
        candidates: list[str] = []
        for other in self._by_folded:
            if shortest <= len(other) <= longest and (other[:1] == ends[0] or other[-1:] == ends[1]):
                candidates.append(other)
                if len(candidates) == MOST_CANDIDATES:
                    break
        if len(candidates) > MOST_ALIKE:
            candidates = nsmallest(MOST_ALIKE, candidates, key=lambda other: -_letters_in_place(folded, other))
        alike = get_close_matches(folded, candidates, 1, LIKENESS)
        return self._by_folded[alike[0]] if alike else ""


def _letters_in_place(name: str, other: str) -> int:
    """How many letters of the two names are the same, counted from the beginning and from the end."""
    found: int = sum(map(eq, name, other)) + sum(map(eq, reversed(name), reversed(other)))
    return found
