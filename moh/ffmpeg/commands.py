"""The ffmpeg commands that play: to one phone, or to standard output for the shared stream. Pure functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ffmpeg

from ..common.actions import Target
from ..common.codecs import Codec
from ..net.sockets import DSCP_EF
from ..rtp.rtcp import cname_of

RTP_HEADER = 12
SRTP_ROOM = 14
"""Octets that ffmpeg keeps free in each packet for what SRTP adds; without them it would cut the sound in two."""

PLAYING_OPTIONS = ("-nostdin", "-hide_banner", "-loglevel", "error", "-filter_threads", "1")


def prepared(music: Path) -> Any:
    """Music that was prepared, for ever; of files and the network ffmpeg may open just that."""
    return ffmpeg.input(f"file:{music}", f="wav", stream_loop=-1, threads=1, protocol_whitelist="file")


def ffmpeg_command(
    music: Path, seconds: float, target: Target, position: float, bind: bool, ssrc: int = 0, shared: bool = False
) -> list[str]:
    """The command that plays ``music``, ``seconds`` long, to ``target`` from ``position`` on, for ever; no effects.

    ``bind``: let RTP leave from the target's local address, where it is one of this machine's. ``ssrc`` is 1 to
    2**31 - 1; 0 leaves it to ffmpeg. ``shared``: another socket may have the port for RTP as well, a ``Watchdog``'s.

    One packet leaves each ``ptime`` because ``asetnsamples`` cuts the sound to packets and ``arealtime`` paces those;
    ``-re`` would pace what the file is read in, and send bursts. Input seeking does not go with ``-stream_loop``, so
    the way to ``position`` is decoded and thrown away (milliseconds of work, since it is PCM).
    """
    codec, ptime = target.codec, target.ptime
    samples = codec.sample_rate * ptime // 1000
    filters = []
    if skip := round(position % seconds * codec.sample_rate):
        filters += [f"atrim=start_sample={skip}", "asetpts=PTS-STARTPTS"]
    filters += [f"asetnsamples=n={samples}:p=0", "arealtime"]
    packet = RTP_HEADER + codec.octets_per_ms * ptime
    options: dict[str, object] = {
        "localrtpport": target.local.port,
        "localrtcpport": target.local.port + 1,
        "rtcpport": target.remote_rtcp.port,
        "pkt_size": packet + SRTP_ROOM if target.srtp_suite else packet,
        "dscp": DSCP_EF,
    }
    local = target.local.host if bind else ""
    if local and not shared:
        options["localaddr"] = local
    url = f"{'srtp' if target.srtp_suite else 'rtp'}://{target.remote}?" + "&".join(
        f"{name}={value}" for name, value in options.items()
    )
    output = {
        "protocol_whitelist": "srtp,rtp,udp" if target.srtp_suite else "rtp,udp",
        "filter:a": ",".join(filters),
        "c:a": codec.encoder,
        "threads": 1,
        "payload_type": target.payload_type,
        "cname": cname_of(target.local.host),
        "ssrc": ssrc,
        "rtpflags": "send_bye",
        "f": "rtp",
        **dict(codec.options),
    }
    if codec.ptimes:
        output["frame_duration"] = ptime
    else:
        output["frame_size"] = samples  # G.722's encoder would cut the sound anew, to 20 ms
    if shared:
        # the one option of its RTP that it hands on as it is, to where there is also one for this
        output["localaddr"] = f"{local or ('::' if ':' in target.remote.host else '0.0.0.0')}&reuse=1"
    if target.srtp_suite:
        output.update(srtp_out_suite=target.srtp_suite, srtp_out_params=target.srtp_key)
    played = prepared(music).output(url, **output)
    command: list[str] = played.global_args(*PLAYING_OPTIONS).compile()
    return command


def encode_command(music: Path, codec: Codec, ptime: int, start: int, bent: tuple[int, int]) -> list[str]:
    """The command that writes ``music``, over and over, from the sample ``start`` on, to its standard output; bare.

    Of a codec with frames each is ``ptime`` milliseconds long. ``bent``: so many samples are made that many more or
    less; a sixteen-millionth of the rate is what they are bent by, lest a sample is missing in an hour.
    """
    filters = [f"atrim=start_sample={start}", "asetpts=PTS-STARTPTS"]
    if bent[0] != bent[1]:
        fine = codec.sample_rate * 1000
        filters += [f"asetrate={round(fine * bent[0] / bent[1])}", f"aresample={fine}", f"asetrate={codec.sample_rate}"]
    output: dict[str, object] = {
        "protocol_whitelist": "pipe",
        "filter:a": ",".join(filters),
        "map": "0:a",
        "c:a": codec.encoder,
        "threads": 1,
        "f": "data",
        **dict(codec.options),
    }
    if codec.ptimes:
        output["frame_duration"] = ptime
    written = prepared(music).output("pipe:1", **output)
    command: list[str] = written.global_args(*PLAYING_OPTIONS).compile()
    return command
