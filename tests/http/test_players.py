"""Each sound is made once for a tune and codec, one at a time, at the lowest priority."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.common.codecs import G722, PCMA, PCMU, Codec
from moh.http import players as module
from moh.http.players import MOST_KEPT, MOST_WAITING, NotYet, Players, Tune
from moh.http.sound import CannotMake, Sound
from tests.support.running import wait_for

FIRST, SECOND = Tune(1, Path("first.wav")), Tune(2, Path("second.wav"))


class Workshop:
    """Makes sounds; while ``busy`` is set, it does not finish."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.niceness = 0
        self.at_once = 0
        self.most_at_once = 0
        self.free = threading.Event()
        self.free.set()
        self.why = ""

    def make(self, path: Path, codec: Codec) -> Sound:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.made.append((path.name, codec.name))
        self.niceness = os.getpriority(os.PRIO_PROCESS, 0)
        assert self.free.wait(10)
        self.at_once -= 1
        if self.why:
            raise CannotMake(self.why)
        return Sound(io.BytesIO(), 44, f'"{path.name}"', {})


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.free.set()


def test_a_sound_is_made_once_for_a_tune_and_codec(workshop: Workshop) -> None:
    players = Players(workshop.make)
    first = players.sound(FIRST, PCMU)
    assert players.sound(FIRST, PCMU) is first
    assert players.sound(SECOND, PCMU) is not first
    assert workshop.made == [("first.wav", "PCMU"), ("second.wav", "PCMU")]


def test_the_sounds_of_the_former_tune_are_dropped(workshop: Workshop) -> None:
    players = Players(workshop.make)
    former = players.sound(FIRST, PCMU)
    players.sound(SECOND, PCMU)
    assert players.sound(FIRST, PCMU) is not former


def test_the_sounds_of_two_names_are_kept_beside_each_other(workshop: Workshop) -> None:
    players = Players(workshop.make)
    jazz, news = Tune(1, Path("first.wav"), "jazz"), Tune(2, Path("second.wav"), "news")
    first = players.sound(jazz, PCMU)
    players.sound(news, PCMU)
    assert players.sound(jazz, PCMU) is first


def test_only_the_latest_sounds_are_kept(workshop: Workshop) -> None:
    players = Players(workshop.make)
    tunes = [Tune(number, Path(f"{number}.wav"), str(number)) for number in range(MOST_KEPT + 1)]
    made = [players.sound(tune, PCMU) for tune in tunes[:-1]]
    assert players.sound(tunes[0], PCMU) is made[0], "now the second is that which was not asked for longest"
    players.sound(tunes[-1], PCMU)
    assert players.sound(tunes[0], PCMU) is made[0]
    assert players.sound(tunes[1], PCMU) is not made[1]
    assert len(players._jobs) == MOST_KEPT


def test_only_the_thread_that_makes_sounds_has_the_lowest_priority(workshop: Workshop) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    Players(workshop.make).sound(FIRST, PCMU)
    assert workshop.niceness == 19
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_a_request_waits_a_little_and_is_told_to_ask_again(workshop: Workshop) -> None:
    workshop.free.clear()
    players = Players(workshop.make, patience=0.05)
    with pytest.raises(NotYet):
        players.sound(FIRST, PCMU)
    workshop.free.set()
    assert wait_for(lambda: players.sound(FIRST, PCMU), "the sound")
    assert len(workshop.made) == 1


def test_sounds_are_made_one_after_another_and_few_requests_wait_for_them(workshop: Workshop) -> None:
    workshop.free.clear()
    players = Players(workshop.make, patience=10.0)
    found: list[Sound] = []
    threads = [
        threading.Thread(target=lambda codec=codec: found.append(players.sound(FIRST, codec))) for codec in (PCMU, PCMA)
    ]
    for thread in threads:
        thread.start()
    assert len(threads) == MOST_WAITING
    wait_for(lambda: players._waiting._value == 0, "both requests")
    with pytest.raises(NotYet):
        players.sound(FIRST, G722)  # at once: the other threads of the web server stay free
    workshop.free.set()
    for thread in threads:
        thread.join(10)
    assert len(found) == 2 and workshop.most_at_once == 1
    assert wait_for(lambda: len(workshop.made) == 3, "the third sound, which nothing waits for")


def test_a_sound_that_cannot_be_made_is_tried_again_a_minute_later(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.why = "No space left on device"
    players = Players(workshop.make)
    for _ in range(2):
        with pytest.raises(CannotMake, match="No space left on device"):
            players.sound(FIRST, PCMU)
    assert len(workshop.made) == 1
    workshop.why = ""
    monkeypatch.setattr(module, "RETRY_AFTER", 0.0)
    assert players.sound(FIRST, PCMU)


def test_an_unexpected_error_is_logged_and_the_next_sound_is_made(caplog: pytest.LogCaptureFixture) -> None:
    def make(path: Path, codec: Codec) -> Sound:
        if codec is PCMU:
            raise ZeroDivisionError
        return Sound(io.BytesIO(), 44, '""', {})

    players = Players(make)
    with pytest.raises(CannotMake, match="an unexpected error, which the log has"):
        players.sound(FIRST, PCMU)
    assert "ZeroDivisionError" in caplog.text
    assert players.sound(FIRST, PCMA)
