"""A librarian with a stand-in for the cache, and what its tests do with it."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any, Optional

from moh.library.librarian import Failure, Librarian
from moh.library.listing import Listing
from moh.library.title import Convert, Step
from moh.mastering.arrange import Arranged
from moh.mastering.prepare import Music
from tests.library.folders import Content, listing

CACHE = Path("/cache")


class FakeRoom:
    """A cache of ``limit`` octets; each entry takes 10. Those in ``played`` cannot be removed."""

    def __init__(self, limit: int = 10000) -> None:
        self.limit = limit
        self.entries: set[str] = set()
        self.played: set[str] = set()

    def missing(self, octets: int) -> tuple[int, str]:
        over = 10 * len(self.entries) + octets - self.limit
        return (over, "the cache is full") if over > 0 else (0, "")

    def free_up(self, octets: int, keep: Container[str], now: float) -> int:
        freed = 0
        for entry in sorted(self.entries):
            if freed < octets and entry not in keep and entry not in self.played:
                self.entries.remove(entry)
                freed += 10
        return freed

    def size_of(self, folder: str) -> int:
        return 10 if folder in self.entries else 0


class Desk:
    """A librarian with its room. ``now`` is the time of all events; each file's entry has its name and form."""

    def __init__(self, limit: int = 10000, **options: bool) -> None:
        self.room = FakeRoom(limit)
        self.librarian = Librarian(self.room, "/music", **options)
        self.now = 10.0
        self.hour = "1"
        self.incomplete: set[str] = set()

    def scan(self, found: Listing, fault: str = "") -> list[dict[str, Any]]:
        is_settled = not self.incomplete
        self.librarian.scanned(found, is_settled, lambda path: path not in self.incomplete, fault, self.now)
        return self.messages()

    def messages(self) -> list[dict[str, Any]]:
        return self.librarian.drain(self.now)

    def send(self, do: str, *names: object, **more: object) -> None:
        self.librarian.receive({"do": do, "names": list(names), **more}, self.now)

    def step(self) -> Optional[Step]:
        return self.librarian.next_step(self.now, self.hour)

    def finish(self, step: Optional[Step], seconds: float = 100.0) -> list[dict[str, Any]]:
        """The step has made music of that length."""
        assert step is not None
        if isinstance(step, Convert):
            entry = f"{step.path}-{step.form.value}".replace("/", "+")
            made: Any = Music({8000: CACHE / entry / "8000.wav"}, seconds, Path("/music") / step.path)
        else:
            entry = f"{step.source}-{'+'.join(part.source.name for part in step.parts)}"
            pieces = tuple((part.source, 100.0 * number) for number, part in enumerate(step.parts))
            made = Arranged({8000: CACHE / entry / "8000.wav"}, seconds, {}, 0.0, (), pieces, 1.0, "", CACHE / entry)
        self.room.entries.add(entry)
        self.librarian.finished(step, made, self.now)
        return self.messages()

    def fail(self, step: Optional[Step], why: str = "it is a text", state: str = "refused") -> list[dict[str, Any]]:
        assert step is not None
        self.librarian.failed(step, Failure(state, why), self.now, 1.0)
        return self.messages()

    def work(self, seconds: float = 100.0) -> list[Step]:
        """Do all steps that are due, each with success. Return them."""
        steps = []
        while (step := self.step()) is not None:
            steps.append(step)
            assert len(steps) < 1000
            for message in self.finish(step, seconds):
                if message["what"] == "ready":
                    self.send("taken", name=message["name"], folders=message["folders"])
        return steps

    @property
    def names(self) -> list[str]:
        """The names in the order in which they become ready."""
        return [step.name for step in self.work()]


def what(found: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The messages in short."""
    return [tuple(str(message[key]) for key in ("what", "name", "state") if key in message) for message in found]


def desk_with(limit: int = 10000, **given: Content) -> Desk:
    desk = Desk(limit)
    desk.scan(listing(**given))
    return desk
