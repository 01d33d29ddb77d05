"""Radios: their process gets its orders, and their rings become live tunes. No process. Literal clocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

from moh.mastering.prepare import Music
from tests.support.library import FakeChild, FolderWorld, entry, names


@pytest.fixture
def world(folder_world: FolderWorld) -> FolderWorld:
    return folder_world


def radio_child(world: FolderWorld) -> FakeChild:
    child: Any = world.library.radios._child
    assert child is not None
    found: FakeChild = child
    return found


def ring(name: str, began: float = 10.0) -> dict[str, Any]:
    return {"what": "ring", "name": name, "files": {"8000": f"/ring/{name}.wav"}, "seconds": 120.0, "began": began}


def radio(name: str, fallback: str = "") -> dict[str, Any]:
    return {"what": "radio", "name": name, "addresses": ["http://192.0.2.1/"], "lists": False, "fallback": fallback}


def test_a_radio_plays_its_ring_and_until_then_the_default(world: FolderWorld) -> None:
    world.say(names("fm radio", "hold", default="hold"), entry(world.cache, "hold"), radio("fm"))
    world.say()
    assert world.plays(world.dial("fm")).seconds == 2.0
    radio_child(world).messages.append(ring("fm"))
    world.say()
    tune = world.plays(world.dial("fm"))
    assert (tune.began, tune.seconds, tune.files) == (10.0, 120.0, {8000: Path("/ring/fm.wav")})


def test_the_fallback_follows_the_default(world: FolderWorld) -> None:
    world.say(names("fm radio", "hold", default="hold"), radio("fm"))
    world.say()
    sent: list[Optional[str]] = [each["fallback"]["8000"] for each in radio_child(world).take_sent()]
    world.say(entry(world.cache, "hold"))
    sent += [each["fallback"]["8000"] for each in radio_child(world).take_sent()]
    assert sent == ["/converted/8000.wav", str(world.cache / "hold" / "8000.wav")]


def test_the_fallback_follows_a_bound_file(world: FolderWorld) -> None:
    own = Music({8000: Path("/own/8000.wav")}, 192.0, Path("/music.mp3"), 1.0, "as it was")
    world.say(names("fm radio"), radio("fm"))
    world.say()
    radio_child(world).take_sent()
    world.playing.use(own)
    world.say()
    assert [each["fallback_seconds"] for each in radio_child(world).take_sent()] == [192.0]


def test_a_radio_that_is_gone_plays_on_while_a_call_hears_it(world: FolderWorld) -> None:
    world.say(names("fm radio", default="fm"), radio("fm"))
    world.say()
    child = radio_child(world)
    child.messages.append(ring("fm"))
    world.say()
    call = world.dial("fm")
    assert world.playing.music is not None and world.playing.music.music.describe() == "the radio 'fm'"
    world.say(names("hold", default="hold"), entry(world.cache, "hold"))
    world.say()
    assert "fm" in world.library.radios.radios and world.plays(call).began == 10.0
    assert world.plays(world.dial("fm")).began is None
    world.agent.registry.calls.pop(call)
    world.say(after=2.0)
    world.say(after=2.0)
    assert "fm" not in world.library.radios.radios and child.has_ended


def test_both_processes_end_with_the_server(world: FolderWorld) -> None:
    world.say(names("fm radio", default="fm"), radio("fm"))
    world.say()
    world.library.close()
    assert world.child.has_ended and radio_child(world).has_ended


def test_a_new_process_goes_on_with_the_ring(world: FolderWorld) -> None:
    world.say(names("fm radio", "hold", default="hold"), entry(world.cache, "hold"), radio("fm"))
    world.say()
    child = radio_child(world)
    child.messages.append(ring("fm"))
    world.say()
    number = world.library.table.names["fm"].number
    child.take_sent()
    child.start_again()
    world.say()
    (order,) = child.take_sent()
    assert order == {
        "do": "play", "name": "fm", "addresses": ["http://192.0.2.1/"], "lists": False,
        "fallback": {rate: str(world.cache / "hold" / f"{rate}.wav") for rate in ("8000", "16000")},
        "fallback_seconds": 2.0, "ring": {"files": {"8000": "/ring/fm.wav"}, "began": 10.0},
    }  # fmt: skip
    child.messages.append(ring("fm"))
    world.say()
    assert world.library.table.names["fm"].number == number
    child.messages.append(ring("fm", began=99.0))
    world.say()
    assert world.plays(world.dial("fm")).began == 99.0, "a ring that could not be taken over"


def test_its_own_pieces_play_until_the_ring_is_there_and_are_its_fallback(world: FolderWorld) -> None:
    world.say(names("fm radio", "hold", default="hold"), entry(world.cache, "hold"), entry(world.cache, "fm", 5.0))
    world.say(radio("fm", fallback="fm"))
    assert world.plays(world.dial("fm")).seconds == 5.0
    world.say()
    assert radio_child(world).take_sent()[0]["fallback_seconds"] == 5.0


def test_the_list_of_names_shows_how_a_radio_is(world: FolderWorld) -> None:
    world.say(names("fm radio", "hold", default="hold"), radio("fm"))
    world.say()
    states = []
    for state in ("connecting", "plays", "away", "plays"):
        message = {"what": "radio", "name": "fm", "state": state, "why": "no data" * (state == "away")}
        radio_child(world).messages.append({**message, "address": "http://192.0.2.1/", "title": "Jazz"})
        world.say()
        row = next(row for row in world.state()["listed"] if row["name"] == "fm")
        states.append((row["state"], row["why"], row["radio"]["connected"], row["radio"]["reconnects"]))
    assert states == [
        ("connecting", "", False, 0), ("plays", "", True, 0), ("away", "no data", False, 0), ("plays", "", True, 1),
    ]  # fmt: skip
    assert row["radio"]["since"] == 1_000_000.0 + world.now and row["radio"]["title"] == "Jazz"
    assert (row["seconds"], row["files"]) == (None, {})


def test_a_radio_that_becomes_a_piece_stops(world: FolderWorld) -> None:
    world.say(names("fm radio", "hold", default="hold"), radio("fm"))
    world.say()
    child = radio_child(world)
    world.say(names("fm", "hold", default="hold"), entry(world.cache, "fm", 5.0))
    world.say()
    assert child.has_ended and world.plays(world.dial("fm")).seconds == 5.0


@pytest.mark.parametrize(
    "bad", [{}, {"what": "ring", "name": "fm"}, {**ring("fm"), "files": {}}, {**ring("fm"), "seconds": 0}]
)
def test_a_message_of_another_form_costs_a_line(world: FolderWorld, bad: dict[str, Any]) -> None:
    world.say(names("fm radio", "hold", default="hold"), radio("fm"))
    world.say()
    radio_child(world).messages += [bad, ring("fm")]
    world.say()
    assert world.library.radios.faults.count == 1 and world.plays(world.dial("fm")).began == 10.0


def test_a_radio_that_was_stopped_says_nothing_more(world: FolderWorld) -> None:
    world.say(names("fm radio", "am radio", default="fm"), radio("fm"), radio("am"))
    world.say()
    world.library.radios.stop("fm")
    radio_child(world).messages.append(ring("fm"))
    world.say(names("am radio", default="am"))
    assert world.library.radios.faults.count == 0
