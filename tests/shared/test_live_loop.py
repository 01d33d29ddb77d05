"""A tune that is encoded as it plays. End to end with a real ffmpeg, or with a stand-in for it."""

from __future__ import annotations

import os
import queue
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest

from moh.common.codecs import CODECS, G722, OPUS, PCMA, PCMU, Codec
from moh.common.faults import FaultLog
from moh.ffmpeg.launch import encoders
from moh.shared import live_loop
from moh.shared.encoded_loop import EncodedLoop
from moh.shared.live_loop import AHEAD, READY, WINDOW, LiveLoop
from moh.shared.loop import Loop
from tests.support.crowd import climbing, sine, write_wave
from tests.support.running import TEST_TIMEOUT, ffmpegs_of, wait_for
from tests.support.shared import stand_in

SECONDS = 4.0
SAMPLES = climbing(4 * 8000)


class Notified:
    """It keeps the loops that have changed."""

    def __init__(self) -> None:
        self.loops: queue.SimpleQueue[Loop] = queue.SimpleQueue()

    def __call__(self, loop: Loop) -> None:
        self.loops.put(loop)

    def wait(self) -> Loop:
        return self.loops.get(timeout=TEST_TIMEOUT)


@pytest.fixture
def notified() -> Notified:
    return Notified()


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    return write_wave(tmp_path / "ring.wav", SAMPLES)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    files = len(os.listdir("/proc/self/fd"))
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "live encoder"]
    assert ffmpegs_of(os.getpid()) == [] and len(os.listdir("/proc/self/fd")) == files


class Playing:
    """A live loop that is closed at the end."""

    def __init__(
        self, music: Path, notified: Notified, codec: Codec = PCMU, ptime: int = 20, began: Optional[float] = None
    ) -> None:
        self.began = time.monotonic() - 100.0 if began is None else began
        self.loop = LiveLoop(music, SECONDS, codec, ptime, self.began, notified, FaultLog("a test"))
        self._octets = ptime * codec.octets_per_ms

    def __enter__(self) -> Playing:
        self.loop.wake()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close(TEST_TIMEOUT)

    def number(self, now: float) -> int:
        """The number of the packet that is due ``now``."""
        return int((now - self.began) * 1000 * self.loop._codec.octets_per_ms / self._octets)

    def packet(self, number: int) -> Optional[bytes]:
        payload = self.loop.payload_at(number * self._octets, self._octets)
        return None if payload is None else bytes(payload)

    def play(self, seconds: float) -> list[Optional[bytes]]:
        """Return the packets of the next ``seconds``, each cut out when it is due."""
        packets = []
        number = self.number(time.monotonic())
        for each in range(number, number + round(seconds * 1000 * self.loop._codec.octets_per_ms / self._octets)):
            while self.number(time.monotonic()) < each:
                time.sleep(0.002)
            packets.append(self.packet(each))
        return packets


def mulaw(folder: Path) -> bytes:
    """Return all of ``SAMPLES`` as PCMU, as a whole loop has them."""
    notified = Notified()
    loop = EncodedLoop(write_wave(folder / "same.wav", SAMPLES), SECONDS, PCMU, 20, notified, FaultLog("a test"))
    notified.wait()
    wait_for(lambda: loop.payload_at(loop.plan.octets - 8, 8) is not None, "all of the tune")
    wait_for(lambda: not [each for each in threading.enumerate() if each.name == "encoder"], "the end of the encoder")
    return b"".join(bytes(loop.payload_at(place, 8) or b"") for place in range(0, loop.plan.octets, 8))


def test_the_music_of_the_time_is_heard_octet_by_octet_over_the_end_of_the_ring(
    notified: Notified, ring: Path, tmp_path: Path
) -> None:
    whole = mulaw(tmp_path)
    with Playing(ring, notified) as playing:
        assert notified.wait() is playing.loop and playing.loop.ready
        first = playing.number(time.monotonic())
        packets = playing.play(SECONDS + 0.5)
        assert None not in packets
        for number, packet in enumerate(packets, first):
            place = number * 160 % len(whole)
            assert packet == (whole * 2)[place : place + 160]


@pytest.mark.parametrize("codec", CODECS)
def test_each_codec_is_encoded_ahead_of_its_time_but_not_far(codec: Codec, notified: Notified, tmp_path: Path) -> None:
    if codec.encoder not in encoders():
        pytest.skip(f"this ffmpeg has no {codec.encoder}")
    rate = codec.sample_rate
    ring = write_wave(tmp_path / "ring.wav", sine(rate, 4 * rate, 1600), rate)
    with Playing(ring, notified, codec) as playing:
        notified.wait()
        packets = playing.play(1.0)
        assert None not in packets and len({len(packet or b"") for packet in packets}) == 1
        now = time.monotonic()
        assert playing.packet(playing.number(now + READY / 1000)) is not None
        assert playing.packet(playing.number(now + AHEAD / 1000 + 0.5)) is None
        assert playing.loop.second_at(0) == playing.loop.second_at(4000 * codec.octets_per_ms) == 0.0


@pytest.mark.parametrize("ptime", [10, 40, 60])
def test_frames_of_each_length_are_in_place(ptime: int, notified: Notified, tmp_path: Path) -> None:
    if OPUS.encoder not in encoders():
        pytest.skip("this ffmpeg makes no Opus")
    ring = write_wave(tmp_path / "ring.wav", sine(16_000, 64_000, 1600), 16_000)
    with Playing(ring, notified, OPUS, ptime) as playing:
        notified.wait()
        packets = playing.play(0.6)
        heads = {packet[:1] for packet in packets if packet is not None}
        assert None not in packets and len(heads) <= 2, "each begins with the octet that tells the kind of a frame"


def test_the_window_holds_what_has_been_played_lately_and_wraps(notified: Notified, ring: Path) -> None:
    loop = LiveLoop(ring, SECONDS, PCMU, 20, 0.0, notified, FaultLog("a test"))
    octets = bytes(n % 251 for n in range(3 * WINDOW * 8))
    loop._first = loop._end = 80
    place = 80
    for length in [7, 160, 100_000, 8000, 239_999, 1, 3000]:
        loop._keep(octets[place : place + length])
        place += length
        assert loop._end == place and place - loop._first <= WINDOW * 8
        for begin in (loop._first, place - 960, place - 160, place - WINDOW * 4):
            if begin >= loop._first and begin + 160 <= place:
                assert bytes(loop.payload_at(begin, 160) or b"") == octets[begin : begin + 160]
        assert loop.payload_at(loop._first - 1, 160) is None and loop.payload_at(place - 159, 160) is None


def test_before_it_is_woken_nothing_is_encoded(notified: Notified, ring: Path) -> None:
    loop = LiveLoop(ring, SECONDS, PCMU, 20, 0.0, notified, FaultLog("a test"))
    assert not loop.ready and loop.payload_at(0, 160) is None
    loop.close(1.0)


def test_without_a_receiver_the_encoder_ends_and_begins_again_at_the_music_of_the_time(
    notified: Notified, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_loop, "UNUSED_AFTER", 0.5)
    whole = mulaw(tmp_path)
    with Playing(ring, notified) as playing:
        notified.wait()
        assert None not in playing.play(1.0), "as long as packets are sent it goes on"
        wait_for(lambda: not playing.loop.ready and not ffmpegs_of(os.getpid()), "the end of the encoder")
        monkeypatch.undo()
        playing.loop.wake()
        notified.wait()
        number = playing.number(time.monotonic())
        place = number * 160 % len(whole)
        assert playing.packet(number) == (whole * 2)[place : place + 160]


def test_an_encoder_that_dies_is_started_again_and_no_packet_is_missing(
    notified: Notified, ring: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = mulaw(tmp_path)
    with Playing(ring, notified) as playing:
        notified.wait()
        playing.play(0.3)
        (pid,) = ffmpegs_of(os.getpid())
        os.kill(pid, 9)
        first = playing.number(time.monotonic())
        packets = playing.play(3.0)
        assert None not in packets
        for number, packet in enumerate(packets, first):
            place = number * 160 % len(whole)
            assert packet == (whole * 2)[place : place + 160]
        assert ffmpegs_of(os.getpid()) != [pid] and not playing.loop.failure
    assert "the encoder of PCMU ended and is started again: ffmpeg ended with status -9" in caplog.text


def test_an_encoder_that_hangs_is_replaced(
    notified: Notified, ring: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_loop, "HANGS_AFTER", 0.5)
    with Playing(ring, notified) as playing:
        notified.wait()
        (pid,) = ffmpegs_of(os.getpid())
        os.kill(pid, 19)
        playing.play(AHEAD / 1000)
        wait_for(lambda: pid not in ffmpegs_of(os.getpid()), "the end of the hung encoder")
        wait_for(lambda: None not in playing.play(0.1), "music")
    assert "it hangs" in caplog.text


@pytest.mark.parametrize("script", ["sys.exit('out of luck')", "sys.stdin.buffer.read(100); sys.exit('out of luck')"])
def test_an_encoder_that_never_works_fails_with_its_reason(
    script: str, notified: Notified, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    with Playing(ring, notified) as playing:
        assert notified.wait() is playing.loop
        assert playing.loop.failure == "the music could not be encoded as PCMU: 'out of luck'"
        assert not playing.loop.ready
        playing.loop.wake()
        assert notified.loops.empty()


def test_a_file_that_is_not_there_fails(notified: Notified) -> None:
    with Playing(Path("/no/such.wav"), notified) as playing:
        assert notified.wait() is playing.loop
        assert "No such file or directory" in playing.loop.failure


def test_an_unexpected_error_is_reported(
    notified: Notified, ring: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> list[str]:
        raise AttributeError("a plain bug")

    monkeypatch.setattr("moh.shared.live_loop.leash", fails)
    with Playing(ring, notified) as playing:
        notified.wait()
        assert "AttributeError('a plain bug')" in playing.loop.failure and "Traceback" in caplog.text


def test_what_is_written_into_the_ring_while_it_plays_is_heard(notified: Notified, tmp_path: Path) -> None:
    """The ring is flat; the music changes three seconds before it is played."""
    ring = write_wave(tmp_path / "ring.wav", array("h", [1000] * len(SAMPLES)))
    with Playing(ring, notified, PCMA) as playing:
        notified.wait()
        before = set(playing.play(0.2))
        write_wave(tmp_path / "other.wav", array("h", [-9000] * len(SAMPLES)))
        with open(ring, "r+b") as file:
            file.write((tmp_path / "other.wav").read_bytes())
        wait_for(lambda: before.isdisjoint(playing.play(0.1)), "the other music")
        assert len(set(playing.play(0.2))) == 1


def test_g722_has_no_break_where_the_encoder_begins_again(notified: Notified, tmp_path: Path) -> None:
    """The encoder hears 1.2 s of the music before it is heard itself, so it writes nearly the same."""
    ring = write_wave(tmp_path / "ring.wav", sine(16_000, 64_000, 1600), 16_000)
    with Playing(ring, notified, G722) as playing:
        notified.wait()
        playing.play(0.5)
        for pid in ffmpegs_of(os.getpid()):
            os.kill(pid, 9)
        after = playing.play(2.5)
    assert None not in after
