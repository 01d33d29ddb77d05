"""Mastering for the telephone, by ffmpeg and its meters, in four passes.

``analyse`` finds out how the channels are to be mixed. ``downmix`` writes one channel of bare samples, which the module
``loop`` makes a loop. ``measure`` measures how loud the loop is over time, in the telephone's bands. ``render`` writes
one file for each sample rate, at the wanted loudness. The ffmpeg commands are in ``filter_graphs``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from ..ffmpeg.run import FfmpegFailed, Progress, declared, has_soxr, run
from .curve import STEP, average, heard_seconds, integrated, loudness_range
from .filter_graphs import (
    BANDS,
    HEADROOM,
    MOMENTARY,
    MUSIC,
    Analysis,
    RenderPlan,
    analysis_command,
    downmix_command,
    measure_command,
    render_command,
    uniform_command,
)
from .loop import LEAD, RATE, Loop
from .speech import MAKEUP, RATIO, compressor

PEAK = -6.0
"""The highest true peak in dBFS (dBTP)."""
WIDE = 9.0
"""Loudness range in LU above which the music is compressed: in a noisy street a caller hears no wider range."""
MARGIN = 0.15
"""dB that a measured peak stays below ``PEAK``: the meter rounds to 0.1 dB, and its samples may miss a little."""
DETECTED = 6.6
"""dB by which the compressor's detector reads music higher than a loudness meter, measured with music of all kinds."""
TRIES = 4
"""How often a file is written at most, until it is as loud as wanted after compressor and limiter."""


@dataclass(frozen=True)
class Loudness:
    """The figures of the meters: integrated loudness in LUFS, loudness range in LU, true peak in dBFS."""

    integrated: float
    range: float
    peak: float


def meters(said: str, name: str, figure: str) -> list[float]:
    """The last ``figure`` that each filter called ``name`` printed, in the order of the filters in the command."""
    found: dict[int, float] = {}
    blocks = re.split(r"^\[Parsed_(\w+?)_(\d+) @ ", said, flags=re.MULTILINE)
    for kind, number, text in zip(blocks[1::3], blocks[2::3], blocks[3::3]):
        value = re.search(rf"\b{figure}: +(-?[\d.]+|-?inf|nan)", text)
        if kind == name and value:
            number_read = float(value[1])
            found[int(number)] = -math.inf if math.isnan(number_read) else number_read
    return [found[number] for number in sorted(found)]


def _loudness(said: str) -> list[Loudness]:
    peaks = [HEADROOM + peak for peak in meters(said, "volumedetect", "max_volume")]
    return [Loudness(*figures) for figures in zip(meters(said, "ebur128", "I"), meters(said, "ebur128", "LRA"), peaks)]


def _read_curve(path: Path, seconds: float) -> list[float]:
    """The curve of ``seconds`` of sound.

    Raises ``OSError`` where values are missing: ffmpeg goes on if the disk takes no more of them.
    """
    with path.open(encoding="ascii") as lines:
        values = [float(line.partition("=")[2]) for line in lines if line.startswith(MOMENTARY)]
    if len(values) < (expected := int(seconds / STEP)):
        raise OSError(f"{str(path)!r} has {len(values)} of {expected} values")
    return [-math.inf if math.isnan(value) else value for value in values]  # the meter's silence may be either


def analyse(source: Path, folder: Path, progress: Optional[Progress]) -> Analysis:
    """Measure the file: its length, its loudness, and how its channels are to be mixed to one.

    The curves of the sum and of the difference of both channels are written into ``folder``.
    """
    channels = 0
    files = [folder / "sum.curve", folder / "difference.curve"]
    try:
        said = run(analysis_command(source, files), progress)
    except FfmpegFailed as failed:
        # ffmpeg refuses to mix channels if the file does not say which is left and which is right
        counted = re.search(r"Audio: .*?\b(\d+) channels", failed.said)
        if not counted or int(counted[1]) < 2:
            raise
        channels = int(counted[1])
        said = run(analysis_command(source, files, channels), progress)
    peaks = meters(said, "astats", "Peak level dB")
    lengths = meters(said, "astats", "Number of samples")
    if len(peaks) < 2:  # the file has no samples
        return Analysis((0.5, 0.5), -math.inf, 0.0, -math.inf, 0.0, None, False, said=said)
    seconds = max(lengths) / RATE
    changes = len(re.findall(r"Number of samples: [1-9]", said)) > 2  # ffmpeg restarts its meters at a change
    curves = [_read_curve(file, 0.0 if changes else seconds) for file in files]
    levels = [average(curve) for curve in curves]
    # if one channel has the wrong polarity, the sum is nearly silent, and the difference is the music
    side = int(levels[1] > levels[0] + 3.0)
    # ffmpeg makes two channels of a mono file, each 3 dB less loud
    kind = re.search(r": Audio: .*", said)
    gain = 3.0103 if kind and re.search(r" Hz, (mono|1 channels)\b", kind[0]) else 0.0
    return Analysis(
        weights=(0.5 * 10 ** (gain / 20), (-0.5 if side else 0.5) * 10 ** (gain / 20)),
        level=integrated(curves[side]) + gain,
        heard=heard_seconds([value + gain for value in curves[side]]),
        peak=peaks[side] + gain,
        seconds=seconds,
        declared=declared(said),
        soxr=has_soxr(said),
        channels=channels,
        changes=changes,
        said=said,
    )


def make_uniform(source: Path, target: Path) -> None:
    """Rewrite a file whose sample rate or channels change in the middle."""
    run(uniform_command(source, target))


def downmix(
    source: Path, target: Path, heard: Path, analysis: Analysis, progress: Optional[Progress], closed: bool = True
) -> float:
    """Write the music as one channel, with its peak at -4 dBFS, and its part in the telephone's band as ``heard``.

    Its beginning follows its end if it is to be ``closed`` to a loop. Return the gain in dB.
    """
    gain = -4.0 - analysis.peak
    run(downmix_command(source, target, heard, analysis, gain, closed), progress, analysis.seconds)
    return gain


def measure(mono: Path, loop: Loop) -> dict[int, list[float]]:
    """The loudness curve of the loop, in the band of each sample rate."""
    files = {rate: mono.with_name(f"{rate}.curve") for rate in sorted(BANDS)}
    run(measure_command(mono, loop, files))
    settled = round(LEAD / RATE / STEP)
    seconds = (LEAD + loop.length * loop.times - loop.tail) / RATE
    past = None if loop.closed else max(settled + 1, int(seconds / STEP))  # a tail is not heard, so it has no loudness
    return {rate: _read_curve(file, seconds)[settled:past] for rate, file in files.items()}


def render(
    mono: Path,
    loop: Loop,
    targets: Mapping[int, Path],
    plans: Mapping[int, RenderPlan],
    wanted: Optional[float],
    soxr: bool,
    progress: Optional[Progress],
) -> dict[int, Loudness]:
    """Write the file for each sample rate, and rewrite a file that is not as loud as ``wanted``.

    Return the loudness of each file. The law kept here: no peak is above ``PEAK``. After ``TRIES`` a file with such a
    peak is written less loud.
    """
    results: dict[int, Loudness] = {}
    pending = dict(plans)
    tries = 0
    while pending:
        command = render_command(mono, loop, {rate: (targets[rate], plan) for rate, plan in pending.items()}, soxr)
        results.update(zip(pending, _loudness(run(command, progress, loop.length / RATE))))
        tries += 1
        improve = _better if tries < TRIES else _lower
        pending = {rate: better for rate, plan in pending.items() if (better := improve(plan, results[rate], wanted))}
    return results


def _over(result: Loudness, wanted: Optional[float]) -> float:
    """By how many dB the peak is too high. Music whose loudness stays as it is may have any peak up to full level."""
    return result.peak + MARGIN - (PEAK if wanted is not None else 0.0)


def _better(plan: RenderPlan, result: Loudness, wanted: Optional[float]) -> Optional[RenderPlan]:
    """A corrected plan, after ``plan`` gave ``result``; ``None`` where the result is close enough to ``wanted``."""
    off = wanted - result.integrated if wanted is not None else 0.0
    over = _over(result, wanted)
    if abs(off) <= 0.3 and over <= 0:
        return None
    # by twice as much, since the limiter acts on the samples and not on the peaks between them
    ceiling = plan.ceiling - 2 * (over + 0.05 if over > 0 else 0.0)
    if plan.ratio > 1:
        return replace(plan, makeup=plan.makeup + off, ceiling=ceiling)
    return replace(plan, gain=plan.gain + off, ceiling=ceiling)


def _lower(plan: RenderPlan, result: Loudness, wanted: Optional[float]) -> Optional[RenderPlan]:
    """A plan that lowers the peak for certain, and the loudness with it; ``None`` where the peak is low enough."""
    over = _over(result, wanted)
    return replace(plan, trim=plan.trim - over - 0.05) if over > 0 else None


def choose_plan(
    curve: Sequence[float], levelled: Sequence[float], gain: float, wanted: Optional[float], envelope: Optional[Path]
) -> RenderPlan:
    """The first plan for a loop, by its loudness curve before the leveller and behind it.

    The loop is ``gain`` dB louder than the owner's file.
    """
    if wanted is None:
        return RenderPlan(-gain, 1.0, 0.0, -1.0)
    spread = min(loudness_range(curve), loudness_range(levelled))  # what the leveller has lifted needs no compressor
    ratio = min(3.0, spread / (WIDE - 2)) if spread > WIDE else 1.0
    makeup = (wanted + DETECTED - MUSIC.threshold) * (1 - 1 / ratio)
    return RenderPlan(wanted - integrated(levelled), ratio, makeup, PEAK - 0.5, envelope=envelope)


def speech_plan(levelled: Sequence[float], wanted: float, envelope: Optional[Path]) -> RenderPlan:
    """The first plan for an announcement, by its loudness curve behind the gains of the module ``speech``."""
    gain = wanted - integrated(levelled)
    return RenderPlan(gain, RATIO, MAKEUP, PEAK - 0.5, envelope=envelope, compressor=compressor(wanted))
