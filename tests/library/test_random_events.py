"""Random events for a librarian: whatever happens, what it relies on stays in the cache, and all becomes ready."""

from __future__ import annotations

import random

import pytest

from moh.library.title import Convert
from tests.library.desk import Desk
from tests.library.folders import Content, folder

STREAM = b"http://radio.example/stream"
PIECES = ("1.mp3", "2.mp3", "announce.wav", ".shuffle", "x.txt", "x.url")
NAMES = ("a", "b", "Jazz", "jazz", "default")


def content(dice: random.Random) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for name in NAMES:
        if dice.random() < 0.5:
            found[f"{name}.mp3"] = dice.randrange(1, 4)
        if dice.random() < 0.3:
            found[name] = dice.sample(PIECES, dice.randrange(len(PIECES)))
        if dice.random() < 0.2:
            found[f"{name}.url"] = dice.choice([STREAM, b"", b"jazz.mp3"])
    if dice.random() < 0.3:
        found["announce.wav"] = 1
    return found


@pytest.mark.parametrize("seed", range(20))
def test_random_events(seed: int) -> None:
    dice = random.Random(seed)
    desk = Desk(dice.choice([30, 60, 10_000_000]))
    given = content(dice)
    playing: dict[str, str] = {}  # by name the entry that the server was told of

    def listen(found: list[dict[str, object]]) -> None:
        for message in found:
            if message["what"] == "ready":
                playing[str(message["name"])] = str(message["folders"]).split("/")[-1][:-2]
                desk.send("taken", name=message["name"], folders=message["folders"])
            elif message["what"] == "state" and message["state"] == "full":
                playing.pop(str(message["name"]), None)

    for number in range(300):
        desk.now += dice.choice([0.1, 1.0, 30.0, 4000.0])
        desk.hour = str(int(desk.now // 3600))
        event = dice.randrange(10)
        if event == 0:
            given = content(dice)
            desk.incomplete = {name for name in given if dice.random() < 0.1}
            listen(desk.scan(folder(given, number)))
        elif event == 1:
            desk.send(dice.choice(["want", "heard"]), *dice.sample(NAMES, 2), "../x", 7)
        elif event == 2:
            listen(desk.scan(folder(given, number), dice.choice(["", "Stale file handle"])))
        elif event == 3 and dice.random() < 0.3:
            desk.librarian.check()
        elif (step := desk.step()) is not None:
            dropped = not step.may_convert and dice.random() < 0.8
            if dropped or dice.random() < 0.1:
                listen(desk.fail(step, "", "full" if dropped else dice.choice(["refused", "full"])))
            else:
                listen(desk.finish(step, dice.choice([1.0, 1000.0, 5000.0])))
            assert isinstance(step, Convert) or len(step.parts) > 0
        desk.librarian.tidy(desk.now)
        listen(desk.messages())
        desk.room.played = {entry for name, entry in playing.items() if name in desk.librarian._titles}
        lost = desk.librarian.protected() - desk.room.entries
        assert not lost, f"event {number}: {lost} has left the cache"
    desk.room.limit = 1 << 40
    desk.incomplete = set()
    listen(desk.scan(folder({"a.mp3": 9, "folk": ["1.mp3", "2.mp3"], "live.url": STREAM}, 999.0)))
    desk.now += 100000.0
    desk.work()
    assert [title.state for title in desk.librarian._titles.values()] == ["ready", "ready", "waiting"]
