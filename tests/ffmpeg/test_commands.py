"""The ffmpeg command that plays to one phone."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from moh.common.actions import Address, Target
from moh.common.codecs import G722, OPUS, PCMU
from moh.ffmpeg.commands import encode_command, ffmpeg_command, live_encode_command

MUSIC = Path("/tmp/music.wav")


def target(remote: Address, payload_type: int = 0, ptime: int = 20) -> Target:
    rtcp = Address(remote.host, remote.port + 1)
    return Target(remote, rtcp, Address("127.0.0.1", 10_000), PCMU, payload_type, ptime)


PHONE = target(Address("192.0.2.10", 17_422))


def url_of(command: list[str]) -> str:
    return next(word for word in command if word.startswith("rtp://"))


def options_of(command: list[str]) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url_of(command)).query).items()}


def after(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_the_file_is_looped_without_re_and_paced_by_the_filter() -> None:
    command = ffmpeg_command(MUSIC, 48.0, PHONE, 0.0, bind=False)
    assert "-re" not in command
    assert after(command, "-stream_loop") == "-1"
    assert after(command, "-i") == "file:/tmp/music.wav"
    assert after(command, "-filter:a") == "asetnsamples=n=160:p=0,arealtime"


def test_ffmpeg_may_open_its_file_and_its_rtp_ports_and_nothing_else() -> None:
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


def test_only_the_encoder_of_g722_gets_the_length_of_a_frame() -> None:
    """The others take frames as the filter cuts them; ffmpeg 9 does not start with a frame length for PCM."""
    there = target(Address("192.0.2.10", 17_422), ptime=30)
    assert "-frame_size" not in ffmpeg_command(MUSIC, 48.0, there, 0.0, bind=False)
    assert after(ffmpeg_command(MUSIC, 48.0, there._replace(codec=G722), 0.0, bind=False), "-frame_size") == "480"


def test_ffmpeg_reads_no_more_of_the_file_than_its_header_before_it_plays() -> None:
    command = ffmpeg_command(MUSIC, 48.0, PHONE, 0.0, bind=False)
    before = command[: command.index("-i")]
    assert (after(before, "-probesize"), after(before, "-analyzeduration")) == ("32", "0")


def test_the_payload_type_is_the_number_of_the_offer() -> None:
    command = ffmpeg_command(MUSIC, 48.0, target(Address("192.0.2.10", 17_422), payload_type=100), 0.0, bind=False)
    assert after(command, "-payload_type") == "100"


def test_rtp_and_rtcp_leave_from_the_answers_port_and_the_next() -> None:
    command = ffmpeg_command(MUSIC, 48.0, PHONE, 0.0, bind=False)
    assert url_of(command).startswith("rtp://192.0.2.10:17422?")
    options = options_of(command)
    assert (options["localrtpport"], options["localrtcpport"], options["rtcpport"]) == ("10000", "10001", "17423")
    assert "localaddr" not in options


def test_rtp_leaves_from_the_local_address_where_it_is_bound() -> None:
    assert options_of(ffmpeg_command(MUSIC, 48.0, PHONE, 0.0, bind=True))["localaddr"] == "127.0.0.1"


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


def test_a_port_is_shared_with_the_watchdog_by_an_option_that_ffmpeg_hands_on() -> None:
    here = Address("127.0.0.1", 4000)
    command = ffmpeg_command(MUSIC, 1.0, target(here), 0.0, bind=True, share_port=True)
    assert after(command, "-localaddr") == "127.0.0.1&reuse=1"
    assert "localaddr=" not in " ".join(command)


def test_the_first_packet_has_the_number_that_was_asked_for() -> None:
    """The reports of the receiver count from there."""
    assert after(ffmpeg_command(MUSIC, 1.0, PHONE, 0.0, bind=False, first=32_767), "-seq") == "32767"


def test_the_shared_stream_gets_bare_frames_from_the_first_sample_that_it_wants() -> None:
    command = encode_command(MUSIC, OPUS, 20, start=5, resampling=(768_210, 768_320))
    assert after(command, "-filter:a").startswith("atrim=start_sample=5,asetpts=PTS-STARTPTS,asetrate=")
    assert after(command[command.index("-i") :], "-f") == "data"
    assert "pipe:1" in command
    assert "asetrate" not in " ".join(encode_command(MUSIC, OPUS, 20, start=5, resampling=(960, 960)))


def test_live_music_is_encoded_from_one_pipe_to_another_and_each_part_is_written_at_once() -> None:
    command = live_encode_command(OPUS, 40)
    before, behind = command[: command.index("-i")], command[command.index("-i") :]
    assert (after(before, "-f"), after(before, "-ar"), after(before, "-ac")) == ("s16le", "16000", "1")
    assert (after(before, "-protocol_whitelist"), after(behind, "-protocol_whitelist")) == ("pipe", "pipe")
    assert (after(command, "-frame_duration"), after(command, "-flush_packets")) == ("40", "1")
    assert after(live_encode_command(PCMU, 20), "-filter:a") == "asetnsamples=n=320:p=0"
    assert after(live_encode_command(G722, 20), "-frame_size") == "640"
