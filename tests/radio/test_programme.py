"""Tests of what is written into a ring, and when: the radio, its fallback, and what lies between them."""

from __future__ import annotations

import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.radio.fallback import Fallback, NoFallback
from moh.radio.live_buffer import LiveBuffer
from moh.radio.programme import ENOUGH, LEAST, Programme
from moh.radio.ring import Ring

FRAMES = 8000
FALLBACK, RADIO, OTHER = 1000, 2000, 3000
"""The value of each sample, which tells the sources apart."""


def files(folder: Path, value: int, seconds: float = 3.0) -> dict[int, Path]:
    found = {rate: folder / f"{value}-{rate}.wav" for rate in (8000, 16000)}
    for rate, path in found.items():
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(struct.pack("<h", value) * int(seconds * rate))
        path.chmod(0o644)
    return found


def feed(buffer: LiveBuffer, seconds: float, value: int = RADIO) -> None:
    for rate in (8000, 16000):
        buffer.feed(rate, struct.pack("<h", value) * int(seconds * rate))


class Scene:
    """A programme, its clock, and what a listener hears."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.folder, self.now = folder, 100.0
        self.ring = Ring.make(folder, 100.0)
        self.programme = Programme(self.ring, Fallback(files(folder, FALLBACK)), 100.0)
        self.least = 1e9

    def connect(self, seconds: float = 0.0, value: int = RADIO) -> LiveBuffer:
        buffer = LiveBuffer(self.now)
        feed(buffer, seconds, value)
        self.programme.offered.append(buffer)
        return buffer

    def go_on(self, seconds: float, *buffers: LiveBuffer, speed: float = 1.0, value: int = RADIO) -> None:
        """Pass ``seconds``, while the stations deliver to ``buffers``."""
        for _ in range(round(seconds / 0.2)):
            self.now = round(self.now + 0.2, 6)
            for buffer in buffers:
                feed(buffer, 0.2 * speed, value)
            self.programme.advance(self.now)
            self.least = min(self.least, self.programme.ahead(self.now))

    def written(self, begin: float, end: float) -> list[int]:
        """Each value that is in the ring from ``begin`` to ``end``, in seconds after now, in order."""
        at = int((self.now - 100.0 + begin) * FRAMES)
        octets = self.ring.read(at, int((end - begin) * FRAMES))[8000]
        values = struct.unpack(f"<{len(octets) // 2}h", octets)
        return [value for value, before in zip(values, (None, *values)) if value != before]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    yield Scene(tmp_path)


def test_a_new_ring_holds_the_fallback_all_around(scene: Scene) -> None:
    assert scene.written(0, 120) == [FALLBACK], "a process that stops for 30 s leaves no silence behind"
    assert scene.programme.ahead(100.0) == 15 * FRAMES


def test_the_fallback_goes_on_where_the_lead_of_a_new_ring_ends(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    fallback = Fallback(files(tmp_path, FALLBACK, 3.5))
    Programme(Ring.make(tmp_path, 100.0), fallback, 100.0)
    assert fallback.position == 15 * FRAMES % (3.5 * FRAMES)


def test_a_ring_begins_with_the_fallback_15_seconds_ahead(scene: Scene) -> None:
    assert scene.programme.ahead(100.0) == 15 * FRAMES
    assert scene.written(0, 15) == [FALLBACK]
    scene.go_on(30)
    assert scene.least >= 14.7 * FRAMES
    assert scene.written(0, 14.7) == [FALLBACK]


def test_the_radio_takes_over_when_5_seconds_have_come(scene: Scene) -> None:
    buffer = scene.connect()
    scene.go_on(4.8, buffer)
    assert not scene.programme.is_live
    scene.go_on(0.4, buffer)
    assert scene.programme.is_live
    scene.go_on(20, buffer)
    assert scene.written(0, 14) == [RADIO]


def test_the_change_is_a_cross_fade(scene: Scene) -> None:
    scene.connect(ENOUGH / FRAMES)
    scene.go_on(0.2)
    values = scene.written(0, scene.programme.ahead(scene.now) / FRAMES)
    assert (values[0], values[-1]) == (FALLBACK, RADIO)
    faded = [value for value in values if value not in (0,)]
    assert all(abs(b - a) < 10 for a, b in zip(faded, faded[1:])), "no step"


def test_a_stall_below_10_seconds_is_not_heard(scene: Scene) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    scene.go_on(20, buffer)
    scene.go_on(9)
    assert scene.programme.is_live
    feed(buffer, 9)
    scene.go_on(10, buffer)
    assert scene.least >= LEAST
    assert scene.written(0, 14) == [RADIO]


def test_a_stall_of_11_seconds_brings_the_fallback_before_the_lead_is_used_up(scene: Scene) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    scene.go_on(20, buffer)
    scene.go_on(12)
    assert not scene.programme.is_live
    assert scene.least >= LEAST
    assert scene.programme.ahead(scene.now) >= 14.7 * FRAMES
    scene.go_on(15)
    assert scene.written(0, 14.7) == [FALLBACK]


def test_the_radio_comes_back_when_5_seconds_have_come_again(scene: Scene) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    scene.go_on(20, buffer)
    scene.go_on(15)
    scene.go_on(4.8, buffer)
    assert not scene.programme.is_live
    scene.go_on(0.4, buffer)
    assert scene.programme.is_live
    assert scene.least >= LEAST


def test_a_new_connection_goes_on_where_the_former_ended(scene: Scene) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    scene.go_on(20, buffer)
    buffer.finished = True
    scene.go_on(3)
    again = scene.connect(4, OTHER)
    scene.go_on(20, again, value=OTHER)
    assert scene.programme.is_live
    assert scene.written(0, 12) == [OTHER]
    assert list(scene.programme.offered) == [again]


def test_connections_that_deliver_too_little_are_dropped(scene: Scene) -> None:
    for _ in range(5):
        scene.connect(1.0).finished = True
        scene.go_on(1)
    assert not scene.programme.is_live
    assert not scene.programme.offered


def test_another_fallback_is_faded_in(scene: Scene, tmp_path: Path) -> None:
    scene.go_on(5)
    scene.programme.use_fallback(Fallback(files(tmp_path, OTHER)))
    scene.go_on(1)
    values = scene.written(0, 14)
    assert (values[0], values[-1]) == (FALLBACK, OTHER)
    assert all(abs(b - a) < 10 for a, b in zip(values, values[1:]))


def test_another_fallback_does_not_disturb_the_radio(scene: Scene, tmp_path: Path) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    scene.go_on(20, buffer)
    scene.programme.use_fallback(Fallback(files(tmp_path, OTHER)))
    scene.go_on(5, buffer)
    assert scene.written(0, 14) == [RADIO]
    scene.go_on(30)
    assert scene.written(0, 14.7) == [OTHER]


@pytest.mark.parametrize("speed", [0.995, 0.9998, 1.0002, 1.005])
def test_a_station_with_another_clock_plays_on_for_20_minutes(scene: Scene, speed: float) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    for _ in range(400):
        scene.go_on(3, buffer, speed=speed)
        assert scene.programme.is_live
    assert scene.least >= LEAST
    assert buffer.frames < 19 * FRAMES
    assert scene.programme.splices <= 2400


def test_a_station_with_a_good_clock_is_not_spliced(scene: Scene) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    scene.go_on(300, buffer)
    assert scene.programme.splices == 0


def test_a_station_that_sends_as_fast_as_it_can_is_not_spliced(scene: Scene) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    for _ in range(600):
        while not buffer.is_full:
            feed(buffer, 0.5)
        buffer.full_at = scene.now
        scene.go_on(0.2)
    assert scene.programme.splices == 0
    assert scene.programme.is_live


def test_a_process_that_was_stopped_for_a_minute_goes_on(scene: Scene) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    scene.go_on(20, buffer)
    scene.now += 60
    scene.go_on(0.2)
    assert scene.programme.ahead(scene.now) >= 14.7 * FRAMES
    assert 0 not in scene.written(5, 14)


def test_a_ring_that_is_taken_over_goes_on(scene: Scene, tmp_path: Path) -> None:
    buffer = scene.connect(ENOUGH / FRAMES)
    scene.go_on(20, buffer)
    found, now = dict(scene.ring.files), scene.now
    scene.programme.ring = scene.ring = None  # type: ignore[assignment]
    scene.ring = Ring.take_over(tmp_path, found, 100.0)
    scene.now = now + 3
    scene.programme = Programme(scene.ring, Fallback(files(tmp_path, OTHER)), scene.now)
    values = scene.written(0, 14.7)
    assert (values[0], values[-1]) == (RADIO, OTHER)
    assert all(abs(b - a) < 10 for a, b in zip(values, values[1:]))


def test_a_ring_that_is_taken_over_late_plays_the_fallback(scene: Scene, tmp_path: Path) -> None:
    found = dict(scene.ring.files)
    scene.programme.ring = scene.ring = None  # type: ignore[assignment]
    scene.ring = Ring.take_over(tmp_path, found, 100.0)
    scene.now += 40
    scene.programme = Programme(scene.ring, Fallback(files(tmp_path, OTHER)), scene.now)
    assert scene.written(4, 14.7) == [OTHER]


# -- the fallback ------------------------------------------------------------------------------------------------------


def test_a_fallback_goes_round(tmp_path: Path) -> None:
    found = files(tmp_path, 5, 0.1)
    fallback = Fallback(found)
    sound = fallback.read(2000)
    assert sound == {8000: struct.pack("<h", 5) * 2000, 16000: struct.pack("<h", 5) * 4000}
    fallback.close()


def test_a_fallback_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    found = files(tmp_path, 5)
    with pytest.raises(NoFallback, match="cannot be read"):
        Fallback({8000: found[8000], 16000: tmp_path / "missing"})
    with pytest.raises(NoFallback, match="expected"):
        Fallback({8000: found[8000], 16000: found[8000]})
    fallback = Fallback(found)
    with found[16000].open("r+b") as file:
        file.truncate(100)
    with pytest.raises(NoFallback, match="was cut short"):
        fallback.read(8000)
