"""One stream: the command, and what real ffmpeg then puts on the wire, on the loopback."""

from __future__ import annotations

import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from moh.common.actions import Address, StartStream, StopStream, StreamEnded, Target
from moh.common.codecs import G722, OPUS, PCMA, PCMU, Codec
from moh.common.tunes import Tune, Tunes
from moh.ffmpeg.commands import ffmpeg_command
from moh.ffmpeg.launch import encoders
from moh.ffmpeg.supervisor import Supervisor
from moh.net.routes import is_ours
from tests.support.phone import Ear, Packet, reports
from tests.support.running import free_ports, wait_for

MUSIC = Path("/tmp/music.wav")
BLOCK = 0.1
"""Seconds for which the test's music keeps one level."""
LEVELS = [-12_000 + 1_200 * block for block in range(21)]


def with_tune(files: dict[int, Path], seconds: float) -> Supervisor:
    """Streams that have one tune, number 0."""
    tunes = Tunes()
    tunes.add(Tune(files, seconds))
    return Supervisor(tunes)


def target(ear: Address, port: int = 10_000, payload_type: int = 0, ptime: int = 20) -> Target:
    return Target(ear, Address(ear.host, ear.port + 1), Address("127.0.0.1", port), PCMU, payload_type, ptime)


PHONE = target(Address("192.0.2.10", 17_422))


def url_of(command: list[str]) -> str:
    return next(word for word in command if word.startswith("rtp://"))


def options_of(command: list[str]) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url_of(command)).query).items()}


def after(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_file_is_looped_without_re_and_paced_by_the_filter() -> None:
    command = ffmpeg_command(MUSIC, 48.0, PHONE, 0.0, bind=False)
    assert "-re" not in command
    assert after(command, "-stream_loop") == "-1"
    assert after(command, "-i") == "file:/tmp/music.wav"
    assert after(command, "-filter:a") == "asetnsamples=n=160:p=0,arealtime"


def test_it_may_open_its_file_and_its_way_out_and_nothing_else() -> None:
    command = ffmpeg_command(MUSIC, 48.0, PHONE, 0.0, bind=False)
    before, behind = command[: command.index("-i")], command[command.index("-i") :]
    assert after(before, "-protocol_whitelist") == "file"
    assert after(before, "-f") == "wav"
    assert after(behind, "-protocol_whitelist") == "rtp,udp"


@pytest.mark.parametrize(("ptime", "samples", "packet"), [(10, 80, 92), (20, 160, 172), (30, 240, 252), (60, 480, 492)])
def test_a_packet_holds_as_much_as_ptime_says(ptime: int, samples: int, packet: int) -> None:
    command = ffmpeg_command(MUSIC, 48.0, target(Address("192.0.2.10", 17_422), ptime=ptime), 0.0, bind=False)
    assert f"asetnsamples=n={samples}:" in after(command, "-filter:a")
    assert options_of(command)["pkt_size"] == str(packet)


def test_the_payload_type_is_the_number_of_the_offer() -> None:
    command = ffmpeg_command(MUSIC, 48.0, target(Address("192.0.2.10", 17_422), payload_type=100), 0.0, bind=False)
    assert after(command, "-payload_type") == "100"


def test_rtp_and_rtcp_leave_from_the_answers_port_and_the_next() -> None:
    command = ffmpeg_command(MUSIC, 48.0, PHONE, 0.0, bind=False)
    assert url_of(command).startswith("rtp://192.0.2.10:17422?")
    options = options_of(command)
    assert (options["localrtpport"], options["localrtcpport"], options["rtcpport"]) == ("10000", "10001", "17423")
    assert "localaddr" not in options


def test_the_local_address_is_used_where_it_is_ours() -> None:
    assert options_of(ffmpeg_command(MUSIC, 48.0, PHONE, 0.0, bind=True))["localaddr"] == "127.0.0.1"
    assert is_ours("127.0.0.1")
    assert not is_ours("192.0.2.1")


def test_an_ipv6_address_stands_in_brackets() -> None:
    command = ffmpeg_command(MUSIC, 48.0, target(Address("2001:db8::7", 17_422)), 0.0, bind=False)
    assert url_of(command).startswith("rtp://[2001:db8::7]:17422?")


@pytest.mark.parametrize(("position", "skipped"), [(1.5, 12_000), (49.5, 12_000), (48.0 * 7 + 0.1, 800)])
def test_the_position_counts_round_the_loop(position: float, skipped: int) -> None:
    filters = after(ffmpeg_command(MUSIC, 48.0, PHONE, position, bind=False), "-filter:a")
    assert filters.startswith(f"atrim=start_sample={skipped},asetpts=PTS-STARTPTS,")


@pytest.mark.parametrize("position", [0.0, 48.0, 96.0])
def test_at_the_beginning_nothing_is_skipped(position: float) -> None:
    assert "atrim" not in after(ffmpeg_command(MUSIC, 48.0, PHONE, position, bind=False), "-filter:a")


# -- on the wire ---------------------------------------------------------------------------------------------------


def write_music(path: Path, samples: list[int], rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(array("h", samples).tobytes())
    return path


def heard(packets: list[Packet]) -> list[int]:
    """The samples in the packets, from G.711 mu-law (ITU-T G.711, table 2a)."""
    samples = []
    for octet in b"".join(packet.payload for packet in packets):
        value = ((((~octet & 15) << 3) + 132) << ((~octet & 112) >> 4)) - 132
        samples.append(value if octet & 128 else -value)
    return samples


def level(sample: int) -> int:
    """The level of ``LEVELS`` that a sample comes nearest to."""
    return min(range(len(LEVELS)), key=lambda index: abs(LEVELS[index] - sample))


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as open_ear:
        yield open_ear


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Supervisor]:
    """Plays 0.51 s of music: four levels of 0.1 s and one of 0.11 s, so that the seam falls into a packet."""
    samples = [LEVELS[block] for block in range(0, 20, 4) for _ in range(800)] + [LEVELS[16]] * 80
    playing = with_tune({8000: write_music(tmp_path / "short.wav", samples)}, 0.51)
    yield playing
    playing.close()


def play(streams: Supervisor, ear: Ear, position: float = 0.0, ptime: int = 20) -> int:
    """Start the music to ``ear``; gives back the port it leaves from."""
    port = free_ports(2)
    streams.order(StartStream("call", 1, target(Address(*ear.address), port, ptime=ptime), position))
    return port


def test_packets_follow_each_other_over_the_loops_seam(streams: Supervisor, ear: Ear) -> None:
    play(streams, ear)
    packets = ear.packets(80)  # 1.6 s, three seams
    assert {packet.size for packet in packets} == {172}
    assert {(packet.payload_type, packet.marked, packet.ssrc) for packet in packets} == {(0, False, packets[0].ssrc)}
    for former, latter in zip(packets, packets[1:]):
        assert latter.sequence == (former.sequence + 1) % 2**16
        assert latter.timestamp == (former.timestamp + 160) % 2**32


def test_the_sound_has_no_gap_at_the_seam(streams: Supervisor, ear: Ear) -> None:
    play(streams, ear)
    levels = [level(sample) for sample in heard(ear.packets(80))]
    one_round = [block for block in range(0, 20, 4) for _ in range(800)] + [16] * 80
    assert levels == (one_round * 4)[: len(levels)]


def test_a_longer_ptime_makes_longer_packets(streams: Supervisor, ear: Ear) -> None:
    play(streams, ear, ptime=40)
    first, second = ear.packets(2)
    assert (first.size, (second.timestamp - first.timestamp) % 2**32) == (332, 320)


@pytest.mark.parametrize(
    ("codec", "ptime", "step"), [(PCMA, 20, 160), (G722, 20, 160), (G722, 30, 240), (OPUS, 20, 960), (OPUS, 60, 2880)]
)
def test_each_codec_counts_time_by_the_clock_of_its_rtpmap(
    tmp_path: Path, ear: Ear, codec: Codec, ptime: int, step: int
) -> None:
    """G.722 hears 16,000 samples a second and counts 8,000; Opus counts 48,000 always (RFC 3551, RFC 7587)."""
    if codec.encoder not in encoders():
        pytest.skip(f"this ffmpeg has no {codec.encoder}")
    music = write_music(tmp_path / "music.wav", LEVELS * 400, codec.sample_rate)
    streams = with_tune({codec.sample_rate: music}, len(LEVELS) * 400 / codec.sample_rate)
    try:
        host, port = ear.address
        there = Target(
            Address(host, port), Address(host, port + 1), Address("127.0.0.1", free_ports(2)), codec, 96, ptime
        )
        streams.order(StartStream("call", 1, there, 0.2))
        packets = ear.packets(25)
        assert {packet.payload_type for packet in packets} == {96}
        steps = {(latter.timestamp - former.timestamp) % 2**32 for former, latter in zip(packets, packets[1:])}
        assert steps == {step}
        assert {packet.size for packet in packets} == {12 + codec.octets_per_ms * ptime}
    finally:
        streams.close()


@pytest.mark.parametrize(("suite", "size"), [("AES_CM_128_HMAC_SHA1_80", 182), ("AES_CM_128_HMAC_SHA1_32", 176)])
def test_an_encrypted_packet_holds_as_much_sound_and_its_tag(
    streams: Supervisor, ear: Ear, suite: str, size: int
) -> None:
    """SRTP adds 10 or 4 octets to the packet (RFC 4568 section 6.2), and hides what is in it."""
    key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
    plain = target(Address(*ear.address), free_ports(2))
    streams.order(StartStream("call", 1, plain._replace(srtp_suite=suite, srtp_key=key), 0.0))
    packets = ear.packets(30)
    assert {packet.size for packet in packets} == {size}
    assert {(latter.timestamp - former.timestamp) % 2**32 for former, latter in zip(packets, packets[1:])} == {160}
    assert len(set(packets[0].payload)) > 50, "a level of the music would be one octet all along"


def test_rtp_and_rtcp_come_from_the_ports_that_were_promised(streams: Supervisor, ear: Ear) -> None:
    port = play(streams, ear)
    assert ear.packets(1)[0].source == ("127.0.0.1", port)
    report, source = ear.report()
    assert source == ("127.0.0.1", port + 1)
    assert reports(report) == [200, 202]
    assert b"moh@127.0.0.1" in report  # the CNAME


def test_the_receiver_is_told_the_end(streams: Supervisor, ear: Ear) -> None:
    play(streams, ear)
    ear.packets(1)
    ear.report()
    streams.order(StopStream("call"))
    assert 203 in reports(ear.report()[0])


@pytest.mark.parametrize(("position", "block"), [(0.0, 0), (0.7, 7), (1.9, 19), (2.0 * 3 + 1.1, 11)])
def test_the_music_goes_on_where_it_was(tmp_path: Path, ear: Ear, position: float, block: int) -> None:
    """Each tenth of a second has a level of its own, so the first sample tells the place."""
    music = write_music(tmp_path / "levels.wav", [LEVELS[n] for n in range(20) for _ in range(800)])
    streams = with_tune({8000: music}, 2.0)
    try:
        play(streams, ear, position)
        samples = heard(ear.packets(10))
        assert {level(sample) for sample in samples[:800]} == {block}
        assert {level(sample) for sample in samples[800:1600]} == {(block + 1) % 20}
    finally:
        streams.close()


def test_an_ipv6_phone_hears_music_from_a_server_known_by_ipv4(streams: Supervisor) -> None:
    with Ear("::1") as ear:
        play(streams, ear)
        assert ear.packets(3)


def test_what_ended_is_reported_with_call_serial_and_reason(streams: Supervisor, ear: Ear) -> None:
    play(streams, ear)
    ear.packets(1)
    streams.order(StopStream("call"))
    (over,) = wait_for(streams.ended, "the report")
    assert isinstance(over, StreamEnded)
    assert (over.call, over.serial) == ("call", 1)
    assert over.why.startswith("ffmpeg ended with status")
    assert ear.falls_silent()
