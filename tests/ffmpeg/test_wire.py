"""End to end: the packets that a real ffmpeg sends to one phone on the loopback."""

from __future__ import annotations

import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moh.common.actions import Address, StartStream, StopStream, StreamEnded, Target
from moh.common.codecs import G722, OPUS, PCMA, Codec
from moh.ffmpeg.launch import encoders
from moh.ffmpeg.supervisor import Supervisor
from tests.ffmpeg.supervised import start, supervisor_of, the_end
from tests.support.phone import Ear, Packet, reports
from tests.support.running import free_ports

BLOCK = 0.1
"""Seconds of each level in the music of the tests."""
LEVELS = [-12_000 + 1_200 * block for block in range(21)]


def write_music(path: Path, samples: list[int], rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(array("h", samples).tobytes())
    return path


def heard(packets: list[Packet]) -> list[int]:
    """Return the samples in the packets of mu-law (ITU-T G.711, table 2a)."""
    samples = []
    for octet in b"".join(packet.payload for packet in packets):
        value = ((((~octet & 15) << 3) + 132) << ((~octet & 112) >> 4)) - 132
        samples.append(value if octet & 128 else -value)
    return samples


def level(sample: int) -> int:
    """Return the level of ``LEVELS`` that is nearest to ``sample``."""
    return min(range(len(LEVELS)), key=lambda index: abs(LEVELS[index] - sample))


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor with 0.51 s of music: four levels of 0.1 s, one of 0.11 s. So the loop point is within a packet."""
    samples = [LEVELS[block] for block in range(0, 20, 4) for _ in range(800)] + [LEVELS[16]] * 80
    playing = supervisor_of({8000: write_music(tmp_path / "short.wav", samples)}, 0.51)
    yield playing
    playing.close()


def play(supervisor: Supervisor, ear: Ear, position: float = 0.0, **others: Any) -> int:
    """Start the music to ``ear``. Return the port that sends it. ``others`` are fields of the target."""
    port = free_ports(2)
    order = start(ear, port)
    supervisor.order(order._replace(position=position, target=order.target._replace(**others)))
    return port


def test_packets_follow_each_other_over_the_loop_point(supervisor: Supervisor, ear: Ear) -> None:
    play(supervisor, ear)
    packets = ear.packets(80)  # 1.6 s have three loop points
    assert {packet.size for packet in packets} == {172}
    assert {(packet.payload_type, packet.marked, packet.ssrc) for packet in packets} == {(0, False, packets[0].ssrc)}
    for former, latter in zip(packets, packets[1:]):
        assert latter.sequence == (former.sequence + 1) % 2**16
        assert latter.timestamp == (former.timestamp + 160) % 2**32


def test_the_sound_has_no_gap_at_the_loop_point(supervisor: Supervisor, ear: Ear) -> None:
    play(supervisor, ear)
    levels = [level(sample) for sample in heard(ear.packets(80))]
    one_round = [block for block in range(0, 20, 4) for _ in range(800)] + [16] * 80
    assert levels == (one_round * 4)[: len(levels)]


def test_a_longer_ptime_makes_longer_packets(supervisor: Supervisor, ear: Ear) -> None:
    play(supervisor, ear, ptime=40)
    first, second = ear.packets(2)
    assert (first.size, (second.timestamp - first.timestamp) % 2**32) == (332, 320)


@pytest.mark.parametrize(
    ("codec", "ptime", "step"), [(PCMA, 20, 160), (G722, 20, 160), (G722, 30, 240), (OPUS, 20, 960), (OPUS, 60, 2880)]
)
def test_each_codec_counts_time_by_the_clock_of_its_rtpmap(
    tmp_path: Path, ear: Ear, codec: Codec, ptime: int, step: int
) -> None:
    """The timestamp of G.722 counts 8,000 a second for 16,000 samples; that of Opus always counts 48,000.

    See RFC 3551 and RFC 7587.
    """
    if codec.encoder not in encoders():
        pytest.skip(f"this ffmpeg has no {codec.encoder}")
    music = write_music(tmp_path / "music.wav", LEVELS * 400, codec.sample_rate)
    supervisor = supervisor_of({codec.sample_rate: music}, len(LEVELS) * 400 / codec.sample_rate)
    try:
        host, port = ear.address
        there = Target(
            Address(host, port), Address(host, port + 1), Address("127.0.0.1", free_ports(2)), codec, 96, ptime
        )
        supervisor.order(StartStream("call", 1, there, 0.2))
        packets = ear.packets(25)
        assert {packet.payload_type for packet in packets} == {96}
        steps = {(latter.timestamp - former.timestamp) % 2**32 for former, latter in zip(packets, packets[1:])}
        assert steps == {step}
        assert {packet.size for packet in packets} == {12 + codec.octets_per_ms * ptime}
    finally:
        supervisor.close()


@pytest.mark.parametrize(("suite", "size"), [("AES_CM_128_HMAC_SHA1_80", 182), ("AES_CM_128_HMAC_SHA1_32", 176)])
def test_an_encrypted_packet_holds_as_much_sound_and_its_tag(
    supervisor: Supervisor, ear: Ear, suite: str, size: int
) -> None:
    """SRTP adds a tag of 10 or 4 octets to the packet (RFC 4568 section 6.2), and encrypts the payload."""
    key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
    play(supervisor, ear, srtp_suite=suite, srtp_key=key)
    packets = ear.packets(30)
    assert {packet.size for packet in packets} == {size}
    assert {(latter.timestamp - former.timestamp) % 2**32 for former, latter in zip(packets, packets[1:])} == {160}
    assert len(set(packets[0].payload)) > 50, "a level of the music would be one octet all along"


def test_rtp_and_rtcp_come_from_the_ports_that_were_promised(supervisor: Supervisor, ear: Ear) -> None:
    port = play(supervisor, ear)
    assert ear.packets(1)[0].source == ("127.0.0.1", port)
    report, source = ear.report()
    assert source == ("127.0.0.1", port + 1)
    assert reports(report) == [200, 202]
    assert b"moh@127.0.0.1" in report  # the CNAME


def test_the_receiver_gets_rtcp_bye_at_the_end(supervisor: Supervisor, ear: Ear) -> None:
    play(supervisor, ear)
    ear.packets(1)
    ear.report()
    supervisor.order(StopStream("call"))
    assert 203 in reports(ear.report()[0])


@pytest.mark.parametrize(("position", "block"), [(0.0, 0), (0.7, 7), (1.9, 19), (2.0 * 3 + 1.1, 11)])
def test_the_music_goes_on_where_it_was(tmp_path: Path, ear: Ear, position: float, block: int) -> None:
    """Each tenth of a second has a level of its own, so the first sample shows the position."""
    music = write_music(tmp_path / "levels.wav", [LEVELS[n] for n in range(20) for _ in range(800)])
    supervisor = supervisor_of({8000: music}, 2.0)
    try:
        play(supervisor, ear, position)
        samples = heard(ear.packets(10))
        assert {level(sample) for sample in samples[:800]} == {block}
        assert {level(sample) for sample in samples[800:1600]} == {(block + 1) % 20}
    finally:
        supervisor.close()


def test_an_ipv6_phone_gets_music_from_a_server_that_advertises_ipv4(supervisor: Supervisor) -> None:
    with Ear("::1") as ear:
        play(supervisor, ear)
        assert ear.packets(3)


def test_an_end_is_reported_with_call_serial_and_reason(supervisor: Supervisor, ear: Ear) -> None:
    play(supervisor, ear)
    ear.packets(1)
    supervisor.order(StopStream("call"))
    ended = the_end(supervisor)
    assert isinstance(ended, StreamEnded)
    assert (ended.call, ended.serial) == ("call", 1)
    assert ended.why.startswith("ffmpeg ended with status")
    assert ear.falls_silent()
