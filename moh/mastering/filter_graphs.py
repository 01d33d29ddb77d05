"""The ffmpeg commands of a conversion, as filter graphs. The module ``loudness`` runs the commands.

Pure functions, but for one thing: of a bare file the beginning is read, to see that it has no header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional

import ffmpeg

from ..ffmpeg.run import LOG_OPTIONS
from .curve import WINDOW
from .formats import input_options
from .leveller import GRID
from .loop import LEAD, RATE, WRAP, Loop

LONGEST = 3600.0
"""Seconds of a file, or of pieces in a row, that are played at most: few callers wait longer, and the cache often is in
memory (tmpfs)."""
BANDS = {8000: (300, 3400), 16000: (50, 7000)}
"""The band in Hz that is kept for each sample rate: the band of G.711, and the band of G.722."""
NARROW = 8000
"""The sample rate of the telephone's band, in which every caller hears the music."""
MOMENTARY = "lavfi.r128.M"
"""The key under which ffmpeg's loudness meter writes the momentary loudness."""
HEADROOM = 12.0
"""dB by which the sound is lowered for the meter of peaks, since peaks between samples may be above full level."""
SHORTEST_METERED = 0.5
"""Seconds of sound of which the loudness can be measured."""
BUTTERWORTH = (0.541, 1.307)
"""The Q of two second-order filters in a row that make a Butterworth filter of fourth order."""


@dataclass(frozen=True)
class Analysis:
    """What the first pass found out about a file. The levels are those of the mono mix of its channels."""

    weights: tuple[float, float]
    """The weights of left and right in the mix."""
    level: float
    """Loudness in the telephone's band, in LUFS. Silence and quiet passages do not count."""
    heard: float
    """For how many seconds it can be heard there."""
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
    said: str = ""
    """What ffmpeg printed of the file."""


class Compressor(NamedTuple):
    """How a compressor acts: threshold in dBFS, attack and release in ms, and the width of its knee."""

    threshold: float
    attack: float
    release: float
    knee: float


MUSIC = Compressor(-45.0, 80, 1200, 4)
"""The compressor of music: slow, so that it does not pump. All sounds that are to be audible are above its
threshold."""
LOOKAHEAD = 5
"""Milliseconds by which the limiter delays the sound."""


@dataclass(frozen=True)
class RenderPlan:
    """The settings of leveller, compressor, limiter and the gains between them."""

    gain: float
    """The gain before the compressor, in dB."""
    ratio: float
    """The compressor's ratio."""
    makeup: float
    """The gain after the compressor, in dB."""
    ceiling: float
    """The highest sample that the limiter passes, in dBFS."""
    trim: float = 0.0
    """The gain after the limiter, in dB."""
    envelope: Optional[Path] = None
    """The file of the leveller's gain over time; ``None`` where the leveller has nothing to do."""
    compressor: Compressor = MUSIC


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


def _curve_written(stream: Any, rate: int, target: Path) -> Any:
    """Write the loudness curve of the sound into a file, as metadata. At twice its sample rate it is exact."""
    stream = stream.filter("aresample", rate).filter("aformat", channel_layouts="mono")
    stream = stream.filter("ebur128", framelog="verbose", metadata=1)
    return stream.filter("ametadata", mode="print", key=MOMENTARY, file=f"file:{target}")


def _metered(stream: Any, rate: int, seconds: float) -> list[Any]:
    """Measure the loudness, and the peak at eight times the sample rate, so that no peak between samples is missed.

    The meter needs ``SHORTEST_METERED`` seconds, so shorter sound gets silence at its end.
    """
    if seconds < SHORTEST_METERED:
        stream = stream.filter("apad", whole_dur=SHORTEST_METERED)
    each = stream.filter("aformat", sample_fmts="fltp", channel_layouts="mono").filter_multi_output("asplit", 2)
    loudness = each[0].filter("aresample", 32000).filter("ebur128", framelog="verbose")
    peak = each[1].filter("aresample", 8 * rate).filter("volume", f"{-HEADROOM}dB").filter("aformat", sample_fmts="s16")
    return [_discarded(loudness), _discarded(peak.filter("volumedetect"))]


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
    return ffmpeg.input(f"file:{path}", t=LONGEST, **input_options(path))["a:0"]


def _mono_file(path: Path) -> Any:
    return ffmpeg.input(f"file:{path}", f="s16le", ar=RATE, ac=1, protocol_whitelist="file")


# -- commands ------------------------------------------------------------------------------------------------------


def uniform_command(source: Path, target: Path) -> list[str]:
    """Convert a file whose sample rate or channels change in the middle, such as joined MP3 files.

    The result is stereo at 44,100 Hz.
    """
    return _command(_source(source).output(f"file:{target}", f="wav", acodec="pcm_s16le", ar=44100, ac=2))


def analysis_command(source: Path, curves: Sequence[Path], channels: int = 0) -> list[str]:
    """Measure the sum and the difference of both channels: the peak, and the loudness curve in the telephone's band.

    The curve gets a little silence at the end, so that a sound shorter than a value of the curve has a loudness.
    """
    stereo = _stereo(_source(source), channels).filter("aresample", RATE).filter_multi_output("asplit", 2)
    outputs = []
    for side, (weights, curve) in enumerate(zip(((0.5, 0.5), (0.5, -0.5)), curves)):
        measured = _mono(stereo[side], weights).filter(
            "astats", measure_perchannel="none", measure_overall="Peak_level+Number_of_samples"
        )
        band = in_band(measured.filter("aresample", NARROW), NARROW).filter("apad", pad_len=int(WINDOW * NARROW))
        outputs.append(_discarded(_curve_written(band, NARROW, curve)))
    return _command(*outputs)


def downmix_command(
    source: Path, target: Path, heard: Path, analysis: Analysis, gain: float, closed: bool = True
) -> list[str]:
    """Write one channel of bare samples, ``gain`` dB louder, and in ``heard`` its part in the telephone's band.

    Both files hold ``LEAD`` samples of silence, the music, and the first ``WRAP`` samples of the music again; if it is
    not to be a loop, ``WRAP`` samples of silence.
    """
    mono = _mono(_stereo(_source(source), analysis.channels), analysis.weights)
    if closed:
        twice = mono.filter_multi_output("asplit", 2)
        beginning = twice[1].filter("atrim", end=WRAP / RATE).filter("asetpts", "PTS-STARTPTS")
        mono = ffmpeg.concat(twice[0], beginning, v=0, a=1)
    else:
        mono = mono.filter("apad", pad_dur=WRAP / RATE)
    settled = resampled(mono, RATE, analysis.soxr).filter("highpass", f=30).filter("volume", f"{gain:.3f}dB")
    both = settled.filter_multi_output("asplit", 2)
    outputs = []
    for sound, path in ((both[0], target), (in_band(both[1], min(BANDS)), heard)):
        led = sound.filter("adelay", f"{1000 * LEAD // RATE}").filter("aformat", sample_fmts="s16")
        outputs.append(led.output(f"file:{path}", f="s16le", acodec="pcm_s16le"))
    return _command(*outputs)


def measure_command(mono: Path, loop: Loop, curves: Mapping[int, Path]) -> list[str]:
    """Write the loop's loudness curve in the band of each sample rate, and of ``LEAD`` samples before the loop.

    There the filters settle.
    """
    end = loop.start + loop.length * loop.times
    sound = _mono_file(mono).filter("atrim", start_sample=loop.start - LEAD, end_sample=end)
    sound = sound.filter("asetpts", "PTS-STARTPTS").filter("aformat", sample_fmts="fltp")
    each = sound.filter_multi_output("asplit", len(curves))
    outputs = []
    for i, (rate, curve) in enumerate(curves.items()):
        band = in_band(each[i] if rate == RATE else each[i].filter("aresample", rate), rate)
        outputs.append(_discarded(_curve_written(band, 2 * rate, curve)))
    return _command(*outputs)


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
        before = LEAD * rate // RATE + (0 if loop.closed else LOOKAHEAD * rate // 1000 - 1)
        full = full.filter("atrim", start_sample=before, end_sample=before + length * rate // RATE)
        both = full.filter("asetpts", "PTS-STARTPTS").filter_multi_output("asplit", 2)
        music = both[0].filter("atrim", end_sample=loop.length * rate // RATE)
        written = music.output(f"file:{target}", f="wav", acodec="pcm_s16le", fflags="+bitexact", map_metadata=-1)
        outputs += [written, *_metered(both[1], rate, length / RATE)]
    return _command(*outputs)


def _rendered(sound: Any, rate: int, plan: RenderPlan) -> Any:
    sound = in_band(sound, rate)
    if plan.envelope is not None:
        envelope = ffmpeg.input(f"file:{plan.envelope}", f="f32le", ar=GRID, ac=1, protocol_whitelist="file")
        envelope = envelope.filter("aresample", rate).filter("aformat", sample_fmts="fltp")
        sound = ffmpeg.filter([sound, envelope], "amultiply")
    sound = sound.filter("volume", f"{plan.gain:.3f}dB")
    if plan.ratio > 1:
        sound = sound.filter(
            "acompressor",
            threshold=_factor(plan.compressor.threshold),
            ratio=f"{plan.ratio:.3f}",
            attack=plan.compressor.attack,
            release=plan.compressor.release,
            knee=plan.compressor.knee,
        ).filter("volume", f"{plan.makeup:.3f}dB")
    sound = sound.filter("alimiter", limit=_factor(plan.ceiling), attack=LOOKAHEAD, release=80, level=0)
    if plan.trim:
        sound = sound.filter("volume", f"{plan.trim:.3f}dB")
    return sound.filter("aformat", sample_fmts="s16")


def _factor(decibels: float) -> str:
    return f"{10 ** (decibels / 20):.6f}"
