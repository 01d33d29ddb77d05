"""Mastering for the telephone, by ffmpeg and its meters.

``listen`` hears how the channels go together; ``fold`` makes one of them, bare samples that ``seam`` closes to a loop;
``measure`` hears how loud that is as a telephone has it; ``finish`` writes one file for each sample rate, at the wanted
loudness. The commands are in ``filters``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..ffmpeg.run import Failed, Progress, declared, has_soxr, run
from .filter_graphs import (
    BANDS,
    THRESHOLD,
    Finish,
    Heard,
    even_command,
    finish_command,
    fold_command,
    listen_command,
    measure_command,
)
from .loop import RATE, Loop

PEAK = -6.0
"""The highest true peak in dBFS (dBTP)."""
WIDE = 9.0
"""LU of loudness range from which on quiet passages are lifted: a telephone in a noisy street has no room for more."""
SILENT = -60.0
"""dBFS in the telephone's band under which a file is silent."""
TRIES = 4
"""Times that a file is written at the most until compressor and limiter leave it as loud as is wanted."""


@dataclass(frozen=True)
class Loudness:
    """What the meters say of sound: integrated loudness in LUFS, range in LU, true peak in dBFS."""

    integrated: float
    range: float
    peak: float


def meters(said: str, name: str, figure: str) -> list[float]:
    """The last figure of each meter of one kind, in the order of the filters in the command."""
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


def listen(source: Path, progress: Optional[Progress]) -> Heard:
    """Hear the file: how long it is, how loud about, and what to make of its channels."""
    channels = 0
    try:
        said = run(listen_command(source), progress)
    except Failed as failed:
        # that many channels without a word of where they belong
        counted = re.search(r"Audio: .*?\b(\d+) channels", failed.said)
        if not counted or int(counted[1]) < 2:
            raise
        channels = int(counted[1])
        said = run(listen_command(source, channels), progress)
    levels = meters(said, "astats", "RMS level dB")
    peaks = meters(said, "astats", "Peak level dB")
    lengths = meters(said, "astats", "Number of samples")
    if len(levels) < 2 or len(peaks) < 4:  # not one sample came
        return Heard((0.5, 0.5), -math.inf, -math.inf, -math.inf, 0.0, None, False)
    # one side wired the wrong way round: their sum is next to nothing, their difference is the music
    side = int(levels[1] > levels[0] + 3.0)
    # ffmpeg shares a single channel out to two with 3 dB less for each
    kind = re.search(r": Audio: .*", said)
    gain = 3.0103 if kind and re.search(r" Hz, (mono|1 channels)\b", kind[0]) else 0.0
    return Heard(
        weights=(0.5 * 10 ** (gain / 20), (-0.5 if side else 0.5) * 10 ** (gain / 20)),
        level=levels[side] + gain,
        loudest=peaks[2 * side + 1] + gain,
        peak=peaks[2 * side] + gain,
        seconds=max(lengths) / RATE,
        promised=declared(said),
        soxr=has_soxr(said),
        channels=channels,
        changes=len(re.findall(r"Number of samples: [1-9]", said)) > 2,  # ffmpeg began anew, with new meters
    )


def even(source: Path, target: Path) -> None:
    """Make a file of one form of a file that changes its form."""
    run(even_command(source, target))


def fold(source: Path, target: Path, heard: Heard, progress: Optional[Progress]) -> float:
    """Write the music as one channel; how many dB louder that is."""
    gain = -4.0 - heard.peak
    run(fold_command(source, target, heard, gain), progress, heard.seconds)
    return gain


def measure(folded: Path, loop: Loop) -> dict[int, Loudness]:
    """How loud the loop is for each sample rate, as folded."""
    return dict(zip(sorted(BANDS), _loudness(run(measure_command(folded, loop)))))


def finish(
    folded: Path,
    loop: Loop,
    targets: Mapping[int, Path],
    plans: Mapping[int, Finish],
    wanted: Optional[float],
    soxr: bool,
    progress: Optional[Progress],
) -> dict[int, Loudness]:
    """Write the file for each sample rate so that it comes out as loud as ``wanted``, if anything is; what they are."""
    became: dict[int, Loudness] = {}
    to_do = dict(plans)
    for _ in range(TRIES):
        command = finish_command(folded, loop, {rate: (targets[rate], plan) for rate, plan in to_do.items()}, soxr)
        became.update(zip(to_do, _loudness(run(command, progress, loop.length / RATE))))
        to_do = {rate: better for rate, plan in to_do.items() if (better := _better(plan, became[rate], wanted))}
        if not to_do:
            break
    return became


def _better(plan: Finish, became: Loudness, wanted: Optional[float]) -> Optional[Finish]:
    """The plan that should do better than the one that came out so; ``None`` where it was good enough."""
    off = wanted - became.integrated if wanted is not None else 0.0
    over = became.peak - (PEAK if wanted is not None else 0.0)
    if abs(off) <= 0.3 and over <= 0:
        return None
    ceiling = plan.ceiling - (over + 0.1 if over > 0 else 0.0)
    if plan.ratio > 1:
        return Finish(plan.gain, plan.ratio, plan.after + off, ceiling)
    return Finish(plan.gain + off, plan.ratio, plan.after, ceiling)


def planned(now: Loudness, gain: float, wanted: Optional[float]) -> Finish:
    """How to finish music that is so loud now, ``gain`` dB louder than in its file."""
    if wanted is None:
        return Finish(-gain, 1.0, 0.0, -1.0)
    ratio = min(3.0, now.range / (WIDE - 2)) if now.range > WIDE else 1.0
    return Finish(wanted - now.integrated, ratio, (wanted - THRESHOLD) * (1 - 1 / ratio), PEAK - 0.5)
