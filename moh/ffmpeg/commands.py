"""The ffmpeg commands that play music to one phone or, for the shared stream, write it to standard output.

Pure functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ffmpeg

from ..common.actions import Target
from ..common.codecs import G722, Codec
from ..net.sockets import DSCP_EF
from ..rtp.rtcp import cname_of

RTP_HEADER = 12
"""Octets of the RTP header in each packet."""
SRTP_OVERHEAD = 14
"""Octets that ffmpeg keeps free in each packet for SRTP; without them it would split the sound into two packets."""
LIVE_PART = 40
"""Milliseconds of music that an encoder of live music encodes at a time."""

PLAYING_OPTIONS = ("-nostdin", "-hide_banner", "-loglevel", "error", "-filter_threads", "1")


def looped(music: Path) -> Any:
    """The prepared music as an endless input; ffmpeg may open nothing else.

    The header of a WAV file says all that ffmpeg needs. Without ``probesize`` and ``analyzeduration`` ffmpeg would read
    and decode more of the file, and that takes half as much private memory again.
    """
    return ffmpeg.input(
        f"file:{music}",
        f="wav",
        probesize=32,
        analyzeduration=0,
        stream_loop=-1,
        threads=1,
        protocol_whitelist="file",
    )


def ffmpeg_command(
    music: Path,
    seconds: float,
    target: Target,
    position: float,
    bind: bool,
    ssrc: int = 0,
    share_port: bool = False,
    first: int = 0,
) -> list[str]:
    """The command that plays ``music``, which is ``seconds`` long, to ``target``, looped, from ``position`` on.

    With ``bind`` ffmpeg sends RTP from the target's local address, which has to be an address of this host. ``ssrc`` is
    1 to 2**31 - 1; 0 leaves the choice to ffmpeg. With ``share_port`` a ``Watchdog`` can use the same ports. The
    first packet has the sequence number ``first``, 0 to 65535.

    ffmpeg sends one packet each ``ptime``: ``asetnsamples`` cuts the sound into packets, and ``arealtime`` paces them.
    ``-re`` would pace the reading of the file, and send bursts. Input seeking does not work with ``-stream_loop``, so
    ffmpeg decodes the sound before ``position`` and drops it. That takes milliseconds, because the file is PCM.
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
        "pkt_size": packet + SRTP_OVERHEAD if target.srtp_suite else packet,
        "dscp": DSCP_EF,
    }
    local = target.local.host if bind else ""
    if local and not share_port:
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
        "seq": first,
        "rtpflags": "send_bye",
        "f": "rtp",
        **dict(codec.options),
    }
    if codec.ptimes:
        output["frame_duration"] = ptime
    elif codec == G722:
        output["frame_size"] = samples  # otherwise its encoder would cut the sound into packets of 20 ms
    if share_port:
        # ffmpeg's RTP has no option "reuse", but it hands "localaddr" on unchanged to its UDP, which has that option
        output["localaddr"] = f"{local or ('::' if ':' in target.remote.host else '0.0.0.0')}&reuse=1"
    if target.srtp_suite:
        output.update(srtp_out_suite=target.srtp_suite, srtp_out_params=target.srtp_key)
    played = looped(music).output(url, **output)
    command: list[str] = played.global_args(*PLAYING_OPTIONS).compile()
    return command


def encode_command(music: Path, codec: Codec, ptime: int, start: int, resampling: tuple[int, int]) -> list[str]:
    """The command that writes ``music``, looped, from sample ``start`` on, encoded and without headers, to its output.

    If ``codec`` has frames, a frame is ``ptime`` milliseconds long. ``resampling`` is a pair of numbers of samples: the
    command stretches the first number to the second, so that the loop is a whole number of packets. ffmpeg takes whole
    numbers as rates, so the rates are in millihertz; with rates in hertz, samples would be missing after an hour.
    """
    filters = [f"atrim=start_sample={start}", "asetpts=PTS-STARTPTS"]
    if resampling[0] != resampling[1]:
        millihertz = codec.sample_rate * 1000
        source = round(millihertz * resampling[0] / resampling[1])
        filters += [f"asetrate={source}", f"aresample={millihertz}", f"asetrate={codec.sample_rate}"]
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
    written = looped(music).output("pipe:1", **output)
    command: list[str] = written.global_args(*PLAYING_OPTIONS).compile()
    return command


def live_encode_command(codec: Codec, ptime: int) -> list[str]:
    """The command that reads samples from its input, 16 bits each, and writes them encoded and without headers.

    It writes each part at once, ``LIVE_PART`` or a frame long. If ``codec`` has frames, they are ``ptime`` ms long.
    """
    rate = codec.sample_rate
    output: dict[str, object] = {
        "protocol_whitelist": "pipe",
        "map": "0:a",
        "c:a": codec.encoder,
        "threads": 1,
        "flush_packets": 1,
        "f": "data",
        **dict(codec.options),
    }
    if codec.ptimes:
        output["frame_duration"] = ptime
    else:
        part = rate * LIVE_PART // 1000
        output["filter:a"] = f"asetnsamples=n={part}:p=0"
        if codec == G722:
            output["frame_size"] = part
    given = ffmpeg.input(
        "pipe:0", f="s16le", ar=rate, ac=1, probesize=32, analyzeduration=0, threads=1, protocol_whitelist="pipe"
    )
    command: list[str] = given.output("pipe:1", **output).global_args(*PLAYING_OPTIONS).compile()
    return command
