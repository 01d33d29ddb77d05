"""A tune that is encoded once for each codec: the plan, and end to end the music that a real ffmpeg encodes."""

from __future__ import annotations

import cmath
import os
import queue
import struct
import subprocess
import threading
import time
from array import array
from math import pi
from pathlib import Path
from typing import Optional

import pytest

from moh.common.codecs import G722, OPUS, PCMA, PCMU, Codec
from moh.common.faults import FaultLog
from moh.ffmpeg.launch import encoders
from moh.shared import encoded_loop
from moh.shared.encoded_loop import SHORTEST_LOOP, EncodedLoop, Plan
from moh.shared.loop import LONGEST_PACKET, WARM_UP, Loop
from tests.support.crowd import climbing, sine, write_wave
from tests.support.running import TEST_TIMEOUT, ffmpegs_of, wait_for
from tests.support.shared import stand_in

opus = pytest.mark.skipif(OPUS.encoder not in encoders(), reason="this ffmpeg makes no Opus")

# -- the plan --------------------------------------------------------------------------------------------------------


def test_a_codec_of_samples_takes_the_tune_as_it_is() -> None:
    plan = Plan(PCMU, 20, 48.0001)  # 384,001 samples are no whole number of packets
    assert (plan.source, plan.samples, plan.octets) == (384_001, 384_001, 384_001)
    assert plan.start == 384_001 - WARM_UP * 8


def test_g722_puts_two_samples_into_an_octet() -> None:
    plan = Plan(G722, 20, 48.0)
    assert (plan.samples, plan.octets) == (768_000, 384_000)


@pytest.mark.parametrize("ptime", [10, 20, 40, 60])
@pytest.mark.parametrize("seconds", [0.013, 0.51, 29.999, 30.0, 48.0071, 3600.0123])
def test_opus_gets_a_whole_number_of_frames_stretched_by_less_than_a_thousandth(ptime: int, seconds: float) -> None:
    plan = Plan(OPUS, ptime, seconds)
    assert plan.samples % (16 * ptime) == 0
    assert plan.octets == plan.samples // 16 * 4
    assert plan.source % round(seconds * 16_000) == 0, "whole tunes"
    assert plan.source >= SHORTEST_LOOP * 16_000
    assert abs(plan.samples / plan.source - 1) <= 0.001


@pytest.mark.parametrize("seconds", [0.013, 0.51, 1.2, 48.0])
def test_encoding_begins_a_whole_warm_up_before_the_beginning(seconds: float) -> None:
    plan = Plan(PCMU, 20, seconds)
    assert 0 <= plan.start < plan.samples
    assert (plan.start + WARM_UP * 8) % plan.samples == 0


# -- the encoded music -----------------------------------------------------------------------------------------------


def encoded(music: Path, seconds: float, codec: Codec, ptime: int = 20) -> EncodedLoop:
    """Wait until the whole tune is encoded, and return the loop."""
    notified: queue.Queue[Loop] = queue.Queue()
    loop = EncodedLoop(music, seconds, codec, ptime, notified.put, FaultLog("a test"))
    assert notified.get(timeout=TEST_TIMEOUT) is loop
    assert loop.failure == "" and loop.began is not None
    wait_for(lambda: loop.payload_at(loop.plan.octets - 1, 1) is not None, "all of the tune")
    wait_for(lambda: loop.payload_at(loop.plan.octets - 1, 100) is not None, "the beginning again, behind the end")
    return loop


def packets(loop: EncodedLoop, octets: int, count: int, position: int = 0) -> list[bytes]:
    taken = [loop.payload_at(position + octets * number, octets) for number in range(count)]
    assert all(taken), "all is encoded"
    return [bytes(packet) for packet in taken if packet is not None]


def payload(loop: EncodedLoop, position: int) -> bytes:
    """Return one payload; empty if it is not encoded yet."""
    return bytes(loop.payload_at(position, 160) or b"")


def ffmpeg(given: bytes, *words: str) -> bytes:
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", *words]
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=30).stdout


@pytest.mark.parametrize("codec", [PCMU, PCMA])
@pytest.mark.parametrize("count", [50, 161, 4001, 8000])
def test_g711_is_the_looped_tune_octet_by_octet_however_long_packets_are(
    codec: Codec, count: int, tmp_path: Path
) -> None:
    """This holds even if the tune is shorter than a packet."""
    samples = climbing(count)
    loop = encoded(write_wave(tmp_path / "tune.wav", samples), count / 8000, codec)
    times = 4000 // count + 3
    raw = (
        "-f",
        "s16le",
        "-ar",
        "8000",
        "-ac",
        "1",
        "-i",
        "pipe:0",
        "-map",
        "0:a",
        "-c:a",
        codec.encoder,
        "-f",
        "data",
        "pipe:1",
    )
    plain = ffmpeg((samples * times).tobytes(), *raw)
    for ptime in (10, 20, 25, 30, 60, LONGEST_PACKET):
        octets = 8 * ptime
        assert b"".join(packets(loop, octets, len(plain) // octets)) == plain[: len(plain) // octets * octets]


@pytest.mark.parametrize("position", [0, 1, 4000, 4001, 4001 * 10**6 + 3999])
def test_any_position_in_the_endless_tune_gives_the_same_octets(position: int, tmp_path: Path) -> None:
    loop = encoded(write_wave(tmp_path / "tune.wav", climbing(4001)), 4001 / 8000, PCMU)
    once = b"".join(packets(loop, 1, 4001))
    assert packets(loop, 160, 1, position) == [(once * 2)[position % 4001 :][:160]]


CYCLES = 400


def turns(samples: array[int], cycles_per_sample: float, window: int) -> list[complex]:
    """Return for each window the level of the tone, and its phase compared with that of an endless tone."""
    found = []
    for begin in range(0, len(samples) - window, window):
        part = samples[begin : begin + window]
        places = enumerate(part, begin)
        turned = (sample * cmath.exp(-2j * pi * cycles_per_sample * place) for place, sample in places)
        found.append(sum(turned) * 2 / window)
    return found


def assert_goes_on(samples: array[int], cycles_per_sample: float, rate: int, jump: float = 0.1) -> None:
    """Assert that in windows of 10 ms a tone keeps its level and its phase never jumps."""
    heard = turns(samples, cycles_per_sample, rate // 100)[50:]  # a decoder needs some time to settle
    assert len(heard) > 100
    levels = [abs(one) for one in heard]
    assert min(levels) > 7000 and max(levels) < 9000, "the tone's level is 8000"
    jumps = [abs(cmath.phase(after / before)) for before, after in zip(heard, heard[1:])]
    assert max(jumps) < jump, "in radians"


@pytest.mark.parametrize("count", [8170, 8171])
def test_g722_has_no_break_at_the_loop_point(count: int, tmp_path: Path) -> None:
    """An octet holds two samples. A tune with an odd number of samples is stretched to an even number."""
    loop = encoded(write_wave(tmp_path / "tune.wav", sine(16_000, count, CYCLES), 16_000), count / 16_000, G722)
    data = b"".join(packets(loop, 160, 120))
    raw = ffmpeg(data, "-f", "g722", "-i", "pipe:0", "-f", "s16le", "-ar", "16000", "-ac", "1", "pipe:1")
    assert_goes_on(array("h", raw), CYCLES / (count - count % 2), 16_000, jump=0.1)


def ogg(packets: list[bytes], ptime: int) -> bytes:
    """Return an Ogg file that ffmpeg can read, with each packet on a page of its own (RFC 3533, RFC 7845)."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 0, 16_000, 0, 0)
    tags = struct.pack("<8sII", b"OpusTags", 0, 0)
    pages = []
    for number, packet in enumerate([head, tags, *packets]):
        granule = max(0, number - 1) * ptime * 48
        lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
        page = struct.pack("<4sBBqIII", b"OggS", 0, 2 * (number == 0), granule, 7, number, 0)
        page += bytes([len(lacing)]) + lacing + packet
        pages.append(page[:22] + struct.pack("<I", checksum(page)) + page[26:])
    return b"".join(pages)


def checksum(page: bytes) -> int:
    value = 0
    for octet in page:
        value ^= octet << 24
        for _ in range(8):
            value = ((value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


@opus
@pytest.mark.parametrize("ptime", [10, 20, 40, 60])
def test_opus_has_no_break_at_the_loop_point(ptime: int, tmp_path: Path) -> None:
    """The tune of half a second is repeated, and stretched to whole frames. The last frame leads into the first."""
    count = 8171
    loop = encoded(write_wave(tmp_path / "tune.wav", sine(16_000, count, CYCLES), 16_000), count / 16_000, OPUS, ptime)
    octets, second = 4 * ptime, 1000 // ptime
    around = packets(loop, octets, 2 * second, loop.plan.octets - second * octets)
    raw = ffmpeg(ogg(around, ptime), "-i", "pipe:0", "-f", "s16le", "-ar", "16000", "-ac", "1", "pipe:1")
    samples = array("h", raw)
    assert len(samples) > 1.9 * 16_000
    stretched = CYCLES / count * loop.plan.source / loop.plan.samples
    assert_goes_on(samples, stretched, 16_000)


# -- while the loop is being encoded, and failures --------------------------------------------------------------------


class Notified:
    """It records ``began`` and ``failure`` at each notification of an ``EncodedLoop``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Optional[float], str]] = []
        self.came = threading.Event()

    def __call__(self, loop: Loop) -> None:
        self.calls.append((loop.began, loop.failure))
        self.came.set()


@pytest.fixture
def notified() -> Notified:
    return Notified()


def test_the_beginning_can_be_played_while_the_rest_is_being_encoded(
    notified: Notified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = tmp_path / "go on"
    waits = f"\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n"
    wrote = "out.write(b'L' * 9600 + b'1' * 9000); out.flush()"
    stand_in(tmp_path, monkeypatch, wrote + waits + "out.write(b'2' * 71_000 + b'more'); out.flush(); time.sleep(60)")
    loop = EncodedLoop(Path("tune.wav"), 10.0, PCMU, 20, notified, FaultLog("a test"))
    assert notified.came.wait(TEST_TIMEOUT)
    assert payload(loop, 0) == b"1" * 160, "the warm-up is left out"
    assert payload(loop, 8840) == b"1" * 160
    assert payload(loop, 8841) == payload(loop, 79_900) == b""
    go_on.touch()
    wait_for(lambda: payload(loop, 79_900) == b"2" * 100 + b"1" * 60, "the loop point")
    assert notified.calls == [(loop.began, "")]
    wait_for(lambda: not ffmpegs_of(os.getpid()), "the end of an ffmpeg that would never end by itself")


def test_far_ahead_of_what_is_played_the_encoder_takes_its_time(
    notified: Notified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute in PCMU, of which a pipe holds 8 s. Without a limit it would be read in some milliseconds."""
    monkeypatch.setattr(encoded_loop, "FAR_AHEAD", 10.0)
    stand_in(tmp_path, monkeypatch, "out.write(bytes(9600 + 480_000)); out.flush(); time.sleep(60)")
    loop = EncodedLoop(Path("tune.wav"), 60.0, PCMU, 20, notified, FaultLog("a test"))
    assert notified.came.wait(TEST_TIMEOUT) and loop.began is not None
    wait_for(lambda: payload(loop, 10 * 8000), "what is played soon")
    wait_for(lambda: payload(loop, 59 * 8000), "all of the minute")
    assert time.monotonic() - loop.began > 30 / encoded_loop.FASTEST


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("sys.exit('out of luck')", "out of luck"),
        ("out.write(bytes(5000)); out.flush(); sys.exit('in the warm-up')", "in the warm-up"),
        ("out.write(bytes(9700)); out.flush(); sys.exit('behind it')", "behind it"),
        ("sys.exit(3)", "''"),
        ("sys.stderr.buffer.write(b'\\xff' * 1_000_000); sys.exit(3)", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_an_ffmpeg_that_fails_is_reported_with_its_reason(
    script: str, why: str, notified: Notified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    loop = EncodedLoop(Path("tune.wav"), 10.0, PCMU, 20, notified, FaultLog("a test"))
    assert notified.came.wait(TEST_TIMEOUT)
    assert loop.began is None
    assert loop.failure.startswith("the music could not be encoded as PCMU: ")
    assert why in loop.failure and len(loop.failure) < 500
    assert notified.calls == [(None, loop.failure)]


def test_a_missing_file_and_a_missing_ffmpeg_are_reported(notified: Notified, monkeypatch: pytest.MonkeyPatch) -> None:
    EncodedLoop(Path("/no/such.wav"), 10.0, PCMU, 20, notified, FaultLog("a test"))
    assert notified.came.wait(TEST_TIMEOUT)
    assert "No such file or directory" in notified.calls[0][1]
    monkeypatch.setenv("PATH", "")
    other = Notified()
    EncodedLoop(Path("/no/such.wav"), 10.0, PCMU, 20, other, FaultLog("a test"))
    assert other.came.wait(TEST_TIMEOUT)
    assert "No such file or directory" in other.calls[0][1]


def test_an_ffmpeg_that_fails_after_the_beginning_is_reported_as_well(
    notified: Notified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the report, the receivers would get no music and the call would not end."""
    stand_in(tmp_path, monkeypatch, "out.write(bytes(9600 + 9000)); out.flush(); time.sleep(0.1); sys.exit('the disk')")
    loop = EncodedLoop(Path("tune.wav"), 10.0, PCMU, 20, notified, FaultLog("a test"))
    wait_for(lambda: len(notified.calls) == 2, "both notifications")
    assert notified.calls[0] == (loop.began, "")
    assert "the disk" in notified.calls[1][1]


def test_an_unexpected_error_is_reported_and_logged_with_its_traceback(
    notified: Notified, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> list[str]:
        raise AttributeError("a plain bug")

    monkeypatch.setattr("moh.shared.encoded_loop.leash", fails)
    faults = FaultLog("the shared stream")
    EncodedLoop(Path("tune.wav"), 10.0, PCMU, 20, notified, faults)
    assert notified.came.wait(TEST_TIMEOUT)
    assert "AttributeError('a plain bug')" in notified.calls[0][1]
    assert faults.count == 1
    assert "unexpected error in the shared stream: an encoded loop" in caplog.text and "Traceback" in caplog.text
