"""The ffmpeg commands that make music fit for the telephone; pure functions. ``mastering`` says what they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import ffmpeg

from ..ffmpeg.run import QUIET
from .loop import LEAD, RATE, WRAP, Loop

LONGEST = 3600.0
"""Seconds of a file that are played; nobody waits longer, and the folder is often a part of the memory."""
BANDS = {8000: (300, 3400), 16000: (50, 7000)}
"""What is left of the sound for each sample rate, in Hz: what the telephone passes of it, and G.722."""
THRESHOLD = -45.0
"""dBFS from which on the compressor works, where it does: below whatever shall be heard."""
BUTTERWORTH = (0.541, 1.307)
"""The Q of two filters in a row that are a Butterworth one of fourth order."""


@dataclass(frozen=True)
class Heard:
    """What listening told. ``channels`` is how they become one, as weights of left and right."""

    weights: tuple[float, float]
    level: float
    """dBFS of the mix in the telephone's band, on average."""
    loudest: float
    """dBFS of its highest sample in that band."""
    peak: float
    """dBFS of the mix."""
    seconds: float
    """How long it plays."""
    promised: Optional[float]
    """How long the file says that it is."""
    soxr: bool
    """Whether ffmpeg has the better resampler."""
    channels: int = 0
    """To be given to ``fold`` where ffmpeg does not know what these many channels are; else 0."""
    changes: bool = False
    """Its sample rate or its channels change on the way: it has to be made ``even`` first."""


@dataclass(frozen=True)
class Finish:
    """How a file is finished: gains in dB before and after the compressor, its ratio, the limiter's ceiling in dBFS."""

    gain: float
    ratio: float
    after: float
    ceiling: float


# -- filters -------------------------------------------------------------------------------------------------------


def resampled(stream: Any, rate: int, soxr: bool) -> Any:
    """To another sample rate, by soxr or by ffmpeg's own with a longer filter than it takes by itself."""
    if soxr:
        return stream.filter("aresample", rate, resampler="soxr", precision=24)
    return stream.filter("aresample", rate, filter_size=64, phase_shift=10, cutoff=0.94)


def in_band(stream: Any, rate: int) -> Any:
    """Without what the telephone does not pass: 24 dB an octave at both ends."""
    low, high = BANDS[rate]
    for q in BUTTERWORTH:
        stream = stream.filter("highpass", f=low, t="q", w=q)
    for q in BUTTERWORTH:
        stream = stream.filter("lowpass", f=high, t="q", w=q)
    return stream


def _pair(stream: Any, channels: int) -> Any:
    """Two channels of whatever there are; ``channels`` in no known order become left and right in turns."""
    if channels:
        sides = [
            f"c{side}=" + "+".join(f"{2 / channels:.4f}*c{i}" for i in range(side, channels, 2)) for side in (0, 1)
        ]
        stream = stream.filter("pan", args="|".join(["stereo", *sides]))
    return stream.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")


def _one(stream: Any, weights: tuple[float, float]) -> Any:
    left, right = weights
    return stream.filter("pan", args=f"mono|c0={left}*c0+{right}*c1")


def _metered(stream: Any) -> Any:
    """Meters on the way; four samples for each of a telephone's, so that peaks between them are seen as well."""
    stream = stream.filter("aresample", 32000).filter("aformat", channel_layouts="mono")
    stream = stream.filter("astats", measure_perchannel="none", measure_overall="Peak_level")
    return stream.filter("ebur128", framelog="verbose")


def _command(*outputs: Any) -> list[str]:
    command: list[str] = (
        ffmpeg.merge_outputs(*outputs)
        .global_args(*QUIET, "-filter_threads", "1", "-filter_complex_threads", "1")
        .compile(overwrite_output=True)
    )
    return command


def _nowhere(stream: Any) -> Any:
    return stream.output("-", f="null")


def _source(path: Path) -> Any:
    return ffmpeg.input(f"file:{path}", t=LONGEST, protocol_whitelist="file")["a:0"]


def _folded(path: Path) -> Any:
    return ffmpeg.input(f"file:{path}", f="s16le", ar=RATE, ac=1, protocol_whitelist="file")


# -- commands: pure functions --------------------------------------------------------------------------------------


def even_command(source: Path, target: Path) -> list[str]:
    """Write a file that changes on the way, as MP3s put behind each other do, as one that does not."""
    return _command(_source(source).output(f"file:{target}", f="wav", acodec="pcm_s16le", ar=44100, ac=2))


def listen_command(source: Path, channels: int = 0) -> list[str]:
    """Hear the sum and the difference of both channels, in the telephone's band."""
    pair = _pair(_source(source), channels).filter("aresample", RATE).filter_multi_output("asplit", 2)
    outputs = []
    for side, weights in enumerate(((0.5, 0.5), (0.5, -0.5))):
        mix = _one(pair[side], weights).filter("astats", measure_perchannel="none", measure_overall="Peak_level")
        heard = in_band(mix, 8000).filter("astats", measure_perchannel="none")
        outputs.append(_nowhere(heard))
    return _command(*outputs)


def fold_command(source: Path, target: Path, heard: Heard, gain: float) -> list[str]:
    """Make one channel of the music, ``gain`` dB louder, as ``seam`` wants it: ``LEAD``, music, its beginning again."""
    mono = _one(_pair(_source(source), heard.channels), heard.weights).filter_multi_output("asplit", 2)
    again = mono[1].filter("atrim", end=WRAP / RATE).filter("asetpts", "PTS-STARTPTS")
    round_about = ffmpeg.concat(mono[0], again, v=0, a=1)
    settled = resampled(round_about, RATE, heard.soxr).filter("highpass", f=30).filter("volume", f"{gain:.3f}dB")
    led = settled.filter("adelay", f"{1000 * LEAD // RATE}").filter("aformat", sample_fmts="s16")
    return _command(led.output(f"file:{target}", f="s16le", acodec="pcm_s16le"))


def measure_command(folded: Path, loop: Loop) -> list[str]:
    """Hear how loud the loop is in each band."""
    sound = _folded(folded).filter("atrim", start_sample=loop.start, end_sample=loop.start + loop.length * loop.times)
    each = sound.filter("aformat", sample_fmts="fltp").filter_multi_output("asplit", len(BANDS))
    return _command(*[_nowhere(_metered(in_band(each[i], rate))) for i, rate in enumerate(sorted(BANDS))])


def finish_command(folded: Path, loop: Loop, plans: Mapping[int, tuple[Path, Finish]], soxr: bool) -> list[str]:
    """Write the file for each sample rate as is planned and hear how loud it is.

    Filters, compressor and limiter run over the end of the loop before its beginning, so that the seam stays whole.
    """
    begin, length = loop.start - LEAD, loop.length * loop.times
    sound = _folded(folded).filter("atrim", start_sample=begin, end_sample=begin + LEAD + length + LEAD)
    sound = sound.filter("asetpts", "PTS-STARTPTS").filter("aformat", sample_fmts="fltp")
    each = sound.filter_multi_output("asplit", len(plans))
    outputs = []
    for i, (rate, (target, plan)) in enumerate(plans.items()):
        full = _finished(each[i] if rate == RATE else resampled(each[i], rate, soxr), rate, plan)
        before = LEAD * rate // RATE
        full = full.filter("atrim", start_sample=before, end_sample=before + length * rate // RATE)
        both = full.filter("asetpts", "PTS-STARTPTS").filter_multi_output("asplit", 2)
        music = both[0].filter("atrim", end_sample=loop.length * rate // RATE)
        written = music.output(f"file:{target}", f="wav", acodec="pcm_s16le", fflags="+bitexact", map_metadata=-1)
        outputs += [written, _nowhere(_metered(both[1]))]
    return _command(*outputs)


def _finished(sound: Any, rate: int, plan: Finish) -> Any:
    sound = in_band(sound, rate).filter("volume", f"{plan.gain:.3f}dB")
    if plan.ratio > 1:
        sound = sound.filter(
            "acompressor", threshold=_factor(THRESHOLD), ratio=f"{plan.ratio:.3f}", attack=80, release=1200, knee=4
        ).filter("volume", f"{plan.after:.3f}dB")
    sound = sound.filter("alimiter", limit=_factor(plan.ceiling), attack=5, release=80, level=0)
    return sound.filter("aformat", sample_fmts="s16")


def _factor(decibels: float) -> str:
    return f"{10 ** (decibels / 20):.6f}"
