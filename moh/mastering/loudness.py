"""Mastering for the telephone, by ffmpeg and its meters, in four passes.

``analyse`` finds out how the channels are to be mixed. ``downmix`` writes one channel of bare samples, which the module
``loop`` makes a loop. ``measure`` measures how loud the loop is in the telephone's bands. ``render`` writes one file
for each sample rate, at the wanted loudness. The ffmpeg commands are in ``filter_graphs``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..ffmpeg.run import FfmpegFailed, Progress, declared, has_soxr, run
from .filter_graphs import (
    BANDS,
    THRESHOLD,
    Analysis,
    RenderPlan,
    analysis_command,
    downmix_command,
    measure_command,
    render_command,
    uniform_command,
)
from .loop import RATE, Loop

PEAK = -6.0
"""The highest true peak in dBFS (dBTP)."""
WIDE = 9.0
"""Loudness range in LU above which the music is compressed: in a noisy street a caller hears no wider range."""
SILENT = -60.0
"""Level in the telephone's band, in dBFS, below which a file counts as silent."""
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
    return [
        Loudness(*figures)
        for figures in zip(
            meters(said, "ebur128", "I"), meters(said, "ebur128", "LRA"), meters(said, "astats", "Peak level dB")
        )
    ]


def analyse(source: Path, progress: Optional[Progress]) -> Analysis:
    """Measure the file: its length, its level, and how its channels are to be mixed to one."""
    channels = 0
    try:
        said = run(analysis_command(source), progress)
    except FfmpegFailed as failed:
        # ffmpeg refuses to mix channels if the file does not say which is left and which is right
        counted = re.search(r"Audio: .*?\b(\d+) channels", failed.said)
        if not counted or int(counted[1]) < 2:
            raise
        channels = int(counted[1])
        said = run(analysis_command(source, channels), progress)
    levels = meters(said, "astats", "RMS level dB")
    peaks = meters(said, "astats", "Peak level dB")
    lengths = meters(said, "astats", "Number of samples")
    if len(levels) < 2 or len(peaks) < 4:  # the file has no samples
        return Analysis((0.5, 0.5), -math.inf, -math.inf, -math.inf, 0.0, None, False)
    # if one channel has the wrong polarity, the sum is nearly silent, and the difference is the music
    side = int(levels[1] > levels[0] + 3.0)
    # ffmpeg makes two channels of a mono file, each 3 dB less loud
    kind = re.search(r": Audio: .*", said)
    gain = 3.0103 if kind and re.search(r" Hz, (mono|1 channels)\b", kind[0]) else 0.0
    return Analysis(
        weights=(0.5 * 10 ** (gain / 20), (-0.5 if side else 0.5) * 10 ** (gain / 20)),
        level=levels[side] + gain,
        loudest=peaks[2 * side + 1] + gain,
        peak=peaks[2 * side] + gain,
        seconds=max(lengths) / RATE,
        declared=declared(said),
        soxr=has_soxr(said),
        channels=channels,
        changes=len(re.findall(r"Number of samples: [1-9]", said)) > 2,  # ffmpeg restarts its meters at a change
    )


def make_uniform(source: Path, target: Path) -> None:
    """Rewrite a file whose sample rate or channels change in the middle."""
    run(uniform_command(source, target))


def downmix(source: Path, target: Path, analysis: Analysis, progress: Optional[Progress]) -> float:
    """Write the music as one channel, with its peak at -4 dBFS. Return the gain in dB."""
    gain = -4.0 - analysis.peak
    run(downmix_command(source, target, analysis, gain), progress, analysis.seconds)
    return gain


def measure(mono: Path, loop: Loop) -> dict[int, Loudness]:
    """The loudness of the loop, for each sample rate."""
    return dict(zip(sorted(BANDS), _loudness(run(measure_command(mono, loop)))))


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

    Return the loudness of each file.
    """
    results: dict[int, Loudness] = {}
    pending = dict(plans)
    for _ in range(TRIES):
        command = render_command(mono, loop, {rate: (targets[rate], plan) for rate, plan in pending.items()}, soxr)
        results.update(zip(pending, _loudness(run(command, progress, loop.length / RATE))))
        pending = {rate: better for rate, plan in pending.items() if (better := _better(plan, results[rate], wanted))}
        if not pending:
            break
    return results


def _better(plan: RenderPlan, result: Loudness, wanted: Optional[float]) -> Optional[RenderPlan]:
    """A corrected plan, after ``plan`` gave ``result``; ``None`` where the result is close enough to ``wanted``."""
    off = wanted - result.integrated if wanted is not None else 0.0
    over = result.peak - (PEAK if wanted is not None else 0.0)
    if abs(off) <= 0.3 and over <= 0:
        return None
    ceiling = plan.ceiling - (over + 0.1 if over > 0 else 0.0)
    if plan.ratio > 1:
        return RenderPlan(plan.gain, plan.ratio, plan.makeup + off, ceiling)
    return RenderPlan(plan.gain + off, plan.ratio, plan.makeup, ceiling)


def choose_plan(now: Loudness, gain: float, wanted: Optional[float]) -> RenderPlan:
    """The first plan for a loop whose loudness is ``now``. The loop is ``gain`` dB louder than the owner's file."""
    if wanted is None:
        return RenderPlan(-gain, 1.0, 0.0, -1.0)
    ratio = min(3.0, now.range / (WIDE - 2)) if now.range > WIDE else 1.0
    return RenderPlan(wanted - now.integrated, ratio, (wanted - THRESHOLD) * (1 - 1 / ratio), PEAK - 0.5)
