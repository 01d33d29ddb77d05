"""The ffmpeg commands of a conversion, as filter graphs. Pure functions; the module ``loudness`` runs the commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import ffmpeg

from ..ffmpeg.run import LOG_OPTIONS
from .formats import ALLOWED
from .loop import LEAD, RATE, WRAP, Loop

LONGEST = 3600.0
"""Seconds of a file that are played at most: few callers wait longer, and the cache often is in memory (tmpfs)."""
BANDS = {8000: (300, 3400), 16000: (50, 7000)}
"""The band in Hz that is kept for each sample rate: the band of G.711, and the band of G.722."""
THRESHOLD = -45.0
"""The compressor's threshold in dBFS: all sounds that are to be audible are louder."""
BUTTERWORTH = (0.541, 1.307)
"""The Q of two second-order filters in a row that make a Butterworth filter of fourth order."""


@dataclass(frozen=True)
class Analysis:
    """What the first pass found out about a file. The levels are those of the mono mix of its channels."""

    weights: tuple[float, float]
    """The weights of left and right in the mix."""
    level: float
    """Average level in the telephone's band, in dBFS."""
    loudest: float
    """Highest sample in the telephone's band, in dBFS."""
    peak: float
    """Highest sample, in dBFS."""
    seconds: float
    """The length of the file in seconds, as decoded."""
    declared: Optional[float]
    """The length in seconds that the file's header states; ``None`` where the header states none."""
    soxr: bool
    """Whether ffmpeg has soxr, the better of its two resamplers."""
    channels: int = 0
    """The number of channels, if ffmpeg does not know their places (left, right, ...); otherwise 0."""
    changes: bool = False
    """Whether sample rate or channels change within the file. Then ``uniform_command`` has to rewrite it first."""


@dataclass(frozen=True)
class RenderPlan:
    """The settings of the compressor and of the limiter behind it."""

    gain: float
    """The gain before the compressor, in dB."""
    ratio: float
    """The compressor's ratio."""
    makeup: float
    """The gain after the compressor, in dB."""
    ceiling: float
    """The highest sample that the limiter passes, in dBFS."""


# -- filters -------------------------------------------------------------------------------------------------------


def resampled(stream: Any, rate: int, soxr: bool) -> Any:
    """Resample to ``rate``, by soxr or by ffmpeg's own resampler with a longer filter than its default."""
    if soxr:
        return stream.filter("aresample", rate, resampler="soxr", precision=24)
    return stream.filter("aresample", rate, filter_size=64, phase_shift=10, cutoff=0.94)


def in_band(stream: Any, rate: int) -> Any:
    """Keep only the band of the sample rate ``rate``, with filters of 24 dB an octave at both ends."""
    low, high = BANDS[rate]
    for q in BUTTERWORTH:
        stream = stream.filter("highpass", f=low, t="q", w=q)
    for q in BUTTERWORTH:
        stream = stream.filter("lowpass", f=high, t="q", w=q)
    return stream


def _stereo(stream: Any, channels: int) -> Any:
    """Convert to stereo. If the places of the ``channels`` are not known, they go to left and right in turn."""
    if channels:
        sides = [
            f"c{side}=" + "+".join(f"{2 / channels:.4f}*c{i}" for i in range(side, channels, 2)) for side in (0, 1)
        ]
        stream = stream.filter("pan", args="|".join(["stereo", *sides]))
    return stream.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")


def _mono(stream: Any, weights: tuple[float, float]) -> Any:
    left, right = weights
    return stream.filter("pan", args=f"mono|c0={left}*c0+{right}*c1")


def _metered(stream: Any) -> Any:
    """Add meters for peak and loudness. They run at 32 kHz, so that they also measure peaks between the samples."""
    stream = stream.filter("aresample", 32000).filter("aformat", channel_layouts="mono")
    stream = stream.filter("astats", measure_perchannel="none", measure_overall="Peak_level")
    return stream.filter("ebur128", framelog="verbose")


def _command(*outputs: Any) -> list[str]:
    command: list[str] = (
        ffmpeg.merge_outputs(*outputs)
        .global_args(*LOG_OPTIONS, "-filter_threads", "1", "-filter_complex_threads", "1")
        .compile(overwrite_output=True)
    )
    return command


def _discarded(stream: Any) -> Any:
    return stream.output("-", f="null")


def _source(path: Path) -> Any:
    return ffmpeg.input(f"file:{path}", t=LONGEST, protocol_whitelist="file", format_whitelist=ALLOWED)["a:0"]


def _mono_file(path: Path) -> Any:
    return ffmpeg.input(f"file:{path}", f="s16le", ar=RATE, ac=1, protocol_whitelist="file")


# -- commands ------------------------------------------------------------------------------------------------------


def uniform_command(source: Path, target: Path) -> list[str]:
    """Convert a file whose sample rate or channels change in the middle, such as joined MP3 files.

    The result is stereo at 44,100 Hz.
    """
    return _command(_source(source).output(f"file:{target}", f="wav", acodec="pcm_s16le", ar=44100, ac=2))


def analysis_command(source: Path, channels: int = 0) -> list[str]:
    """Measure the sum and the difference of both channels, in the whole band and in the telephone's band."""
    stereo = _stereo(_source(source), channels).filter("aresample", RATE).filter_multi_output("asplit", 2)
    outputs = []
    for side, weights in enumerate(((0.5, 0.5), (0.5, -0.5))):
        mix = _mono(stereo[side], weights).filter("astats", measure_perchannel="none", measure_overall="Peak_level")
        measured = in_band(mix, 8000).filter("astats", measure_perchannel="none")
        outputs.append(_discarded(measured))
    return _command(*outputs)


def downmix_command(source: Path, target: Path, analysis: Analysis, gain: float) -> list[str]:
    """Write one channel of bare samples, ``gain`` dB louder.

    The file holds ``LEAD`` samples of silence, the music, and the first ``WRAP`` samples of the music again.
    """
    mono = _mono(_stereo(_source(source), analysis.channels), analysis.weights).filter_multi_output("asplit", 2)
    beginning = mono[1].filter("atrim", end=WRAP / RATE).filter("asetpts", "PTS-STARTPTS")
    wrapped = ffmpeg.concat(mono[0], beginning, v=0, a=1)
    settled = resampled(wrapped, RATE, analysis.soxr).filter("highpass", f=30).filter("volume", f"{gain:.3f}dB")
    led = settled.filter("adelay", f"{1000 * LEAD // RATE}").filter("aformat", sample_fmts="s16")
    return _command(led.output(f"file:{target}", f="s16le", acodec="pcm_s16le"))


def measure_command(mono: Path, loop: Loop) -> list[str]:
    """Measure the loop's loudness in the band of each sample rate."""
    sound = _mono_file(mono).filter("atrim", start_sample=loop.start, end_sample=loop.start + loop.length * loop.times)
    each = sound.filter("aformat", sample_fmts="fltp").filter_multi_output("asplit", len(BANDS))
    return _command(*[_discarded(_metered(in_band(each[i], rate))) for i, rate in enumerate(sorted(BANDS))])


def render_command(mono: Path, loop: Loop, plans: Mapping[int, tuple[Path, RenderPlan]], soxr: bool) -> list[str]:
    """Write the file for each sample rate by its plan, and measure the loudness of each file.

    Filters, compressor and limiter first run over the end of the loop, so they have settled when its beginning comes.
    """
    begin, length = loop.start - LEAD, loop.length * loop.times
    sound = _mono_file(mono).filter("atrim", start_sample=begin, end_sample=begin + LEAD + length + LEAD)
    sound = sound.filter("asetpts", "PTS-STARTPTS").filter("aformat", sample_fmts="fltp")
    each = sound.filter_multi_output("asplit", len(plans))
    outputs = []
    for i, (rate, (target, plan)) in enumerate(plans.items()):
        full = _rendered(each[i] if rate == RATE else resampled(each[i], rate, soxr), rate, plan)
        before = LEAD * rate // RATE
        full = full.filter("atrim", start_sample=before, end_sample=before + length * rate // RATE)
        both = full.filter("asetpts", "PTS-STARTPTS").filter_multi_output("asplit", 2)
        music = both[0].filter("atrim", end_sample=loop.length * rate // RATE)
        written = music.output(f"file:{target}", f="wav", acodec="pcm_s16le", fflags="+bitexact", map_metadata=-1)
        outputs += [written, _discarded(_metered(both[1]))]
    return _command(*outputs)


def _rendered(sound: Any, rate: int, plan: RenderPlan) -> Any:
    sound = in_band(sound, rate).filter("volume", f"{plan.gain:.3f}dB")
    if plan.ratio > 1:
        sound = sound.filter(
            "acompressor", threshold=_factor(THRESHOLD), ratio=f"{plan.ratio:.3f}", attack=80, release=1200, knee=4
        ).filter("volume", f"{plan.makeup:.3f}dB")
    sound = sound.filter("alimiter", limit=_factor(plan.ceiling), attack=5, release=80, level=0)
    return sound.filter("aformat", sample_fmts="s16")


def _factor(decibels: float) -> str:
    return f"{10 ** (decibels / 20):.6f}"
