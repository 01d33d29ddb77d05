"""Radios: their process gets its orders, and their rings become live tunes. No process. Literal clocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

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
