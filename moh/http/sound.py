"""Music as a codec makes it sound: encoded, decoded again, and kept as a WAV file without a name.

The file is on disk and in no folder, so nothing is left behind when the process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import IO, Any, BinaryIO

import ffmpeg

from ..common.codecs import G722, OPUS, PCMA, PCMU, Codec
from ..ffmpeg.launch import DATA_LIMIT_MB, leash
from ..ffmpeg.run import first_error

LONGEST = 120
"""Seconds of the music that are made to hear: enough to judge it, and 4 MB at most."""
TIME_LIMIT = 120.0
"""Seconds that the two ffmpegs may take. An idle machine needs one; with lowest priority on a busy one it is more."""
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
"""The header of a WAV file of PCM: RIFF, fmt and data."""
BARS = 400
"""Pieces of the waveform."""
FULL = 32768
"""The highest sample of 16 bits, and one."""
COMMON = ("-nostdin", "-hide_banner", "-loglevel", "level+error")

ENCODED = {PCMU: ("data", "mulaw"), PCMA: ("data", "alaw"), G722: ("data", "g722"), OPUS: ("ogg", "ogg")}
"""For each codec the muxer that the encoder writes and the demuxer that the decoder reads. ``data`` writes payloads as
they are in RTP; Opus needs a container, since its packets have no fixed length."""


class CannotMake(Exception):
    """ffmpeg did not make the sound; the text says why, in one line."""


@dataclass(frozen=True)
class Sound:
    """A WAV file of 16 bits in one channel, and its waveform."""

    file: BinaryIO
    size: int
    tag: str
    """Names this content (RFC 9110 §8.8.3)."""
    waveform: Mapping[str, object]

    def open(self) -> BinaryIO:
        """Open the file once more, with a position of its own."""
        return open(f"/proc/self/fd/{self.file.fileno()}", "rb", buffering=0)


def make_sound(music: Path, codec: Codec) -> Sound:
    """Encode ``music``, a WAV file, as for a call, and decode it as a phone does. Raises ``CannotMake``."""
    try:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 -- the sound keeps it open
    except OSError as error:
        raise CannotMake(f"no temporary file can be made: {error.strerror}") from None
    try:
        file.write(bytes(HEADER.size))
        _run_both(encode_command(music, codec), decode_command(codec), file)
        size = file.seek(0, os.SEEK_END)
        if size <= HEADER.size:
            raise CannotMake("ffmpeg has made no sound of it")
        file.seek(0)
        file.write(header_of(codec.sample_rate, size - HEADER.size))
        file.seek(0)
        octets = file.read()
    except OSError as error:
        raise CannotMake(f"the sound cannot be kept: {error.strerror}") from None
    tag = hashlib.sha256(octets).hexdigest()[:16]
    shape = waveform(octets[HEADER.size :])
    seconds = (size - HEADER.size) / 2 / codec.sample_rate
    return Sound(file, size, f'"{tag}"', {"codec": codec.name, "seconds": round(seconds, 3), **shape})


def encode_command(music: Path, codec: Codec) -> list[str]:
    """The command that writes the beginning of ``music`` to its output, encoded by ``codec``."""
    source = ffmpeg.input(f"file:{music}", f="wav", t=LONGEST, protocol_whitelist="file", threads=1)
    options = {"c:a": codec.encoder, "map": "0:a", "f": ENCODED[codec][0], **dict(codec.options)}
    return _compiled(source.output("pipe:1", protocol_whitelist="pipe", threads=1, **options))


def decode_command(codec: Codec) -> list[str]:
    """The command that decodes what ``encode_command`` writes, to samples of 16 bits at the codec's rate."""
    options: dict[str, object] = {"f": ENCODED[codec][1], "protocol_whitelist": "pipe", "threads": 1}
    if codec in (PCMU, PCMA):  # the other demuxers know the rate and the channels themselves
        options.update(ar=codec.sample_rate, ac=1)
    written = ffmpeg.input("pipe:0", **options).output(
        "pipe:1", protocol_whitelist="pipe", f="s16le", ar=codec.sample_rate, ac=1, threads=1
    )
    return _compiled(written)


def _compiled(stream: Any) -> list[str]:
    command: list[str] = stream.global_args(*COMMON).compile()
    return command


def _run_both(encode: list[str], decode: list[str], output: IO[bytes]) -> None:
    """Run the encoder into the decoder, and the decoder into ``output``."""
    give_up = time.monotonic() + TIME_LIMIT
    prefix = leash(os.getpid(), DATA_LIMIT_MB)
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryFile() as said:
        try:
            first = subprocess.Popen([*prefix, *encode], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
            running.append(first)
            assert first.stdout is not None
            with first.stdout as encoded:
                running.append(subprocess.Popen([*prefix, *decode], stdin=encoded, stdout=output, stderr=said))
            failed = [each for each in running if each.wait(max(0.1, give_up - time.monotonic())) != 0]
        except subprocess.TimeoutExpired:
            raise CannotMake(f"ffmpeg has not ended within {TIME_LIMIT:g} s") from None
        except OSError as error:
            raise CannotMake(f"ffmpeg does not run: {error.strerror}") from None
        finally:
            for each in running:
                if each.poll() is None:
                    each.kill()
                    each.wait()
        said.seek(0)
        lines = said.read(65536).decode("utf-8", "replace")
    if failed:
        raise CannotMake(first_error(lines) or f"ffmpeg has ended with exit status {failed[0].returncode}")


def header_of(rate: int, octets: int) -> bytes:
    """The header of a WAV file with ``octets`` of samples of 16 bits in one channel."""
    return HEADER.pack(
        b"RIFF", HEADER.size - 8 + octets, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", octets
    )


def waveform(octets: bytes) -> dict[str, list[float]]:
    """Peak and RMS of ``BARS`` pieces of equal length, from 0 to 1. Shorter sounds have fewer pieces."""
    samples = array("h")
    samples.frombytes(octets[: len(octets) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    bars = min(BARS, len(samples))
    edges = [len(samples) * number // bars for number in range(bars + 1)] if bars else []
    peaks, rms = [], []
    for start, end in zip(edges, edges[1:]):
        piece = samples[start:end]
        peaks.append(round(max(max(piece), -min(piece)) / FULL, 4))
        rms.append(round((sum(map(mul, piece, piece)) / len(piece)) ** 0.5 / FULL, 4))
    return {"peaks": peaks, "rms": rms}
