"""One conversion of a file for the telephone, from its first reading to the finished files for each sample rate."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Optional

from ..common.errors import SettingsError
from ..ffmpeg.run import Progress
from .cache import length_of
from .completeness import what_is_missing
from .curve import integrated, loudness_range
from .filter_graphs import BANDS, NARROW
from .form import Form
from .formats import read_as
from .leveller import lifts, write_envelope
from .loop import RATE, close_loop
from .loudness import Loudness, analyse, choose_plan, downmix, make_uniform, measure, render, speech_plan
from .piece import cut_piece, cut_speech
from .refusals import refuse, refuse_protected, too_short
from .report import Outcome, in_figures, in_plain_words
from .speech import LONGEST_SPEECH, curve_gains, levels, speech_gains, write_gains

SHORTEST = 0.1
"""Seconds of sound that a file needs at least."""
LEAST_HEARD = 1.0
"""Seconds that can be heard of a file that is no silence, or a tenth of the file if that is less."""
ROOM = 2 * (sum(BANDS) + RATE)
"""Octets on the disk that a second of music takes while it is converted."""

CUTTERS = {Form.LOOP: close_loop, Form.PIECE: cut_piece, Form.SPEECH: cut_speech}
"""What makes of the downmixed file what its form needs."""
SETTLED = 3
"""The values of a loudness curve until one covers nothing but the sound."""

log = logging.getLogger("moh")


class Converted(NamedTuple):
    """What a conversion leaves beside the files: the report of what was done, and figures for other programs."""

    report: str
    figures: dict[str, float]


def convert(
    source: Path, targets: Mapping[int, Path], form: Form, wanted: Optional[float], progress: Optional[Progress]
) -> Converted:
    """Write the file for each sample rate.

    ``wanted`` is the loudness in LUFS; ``None`` leaves the loudness unchanged. Intermediate files are written beside
    the folder of ``targets``.
    """
    made = next(iter(targets.values())).parent
    work = made.parent
    analysis, uniform = analyse(source, work, _stage(progress, 0.0, 0.4)), source
    if analysis.changes:
        uniform = work / "uniform.wav"
        make_uniform(source, uniform)
        analysis = replace(analyse(uniform, work, None), declared=analysis.declared, said=analysis.said)
    refuse_protected(source, analysis.said)
    if analysis.seconds < SHORTEST:
        raise too_short(source, analysis.seconds, SHORTEST, analysis.said)
    if analysis.heard < min(LEAST_HEARD, analysis.seconds / 10):
        audible = f"makes only {analysis.heard:.1f} s of its {analysis.seconds:.1f} s audible (300 to 3400 Hz)"
        expected = "speech" if form is Form.SPEECH else "music"
        raise refuse(source, f"it is almost silent: a telephone {audible}; expected {expected}")
    if form is Form.SPEECH and analysis.seconds > LONGEST_SPEECH:
        most = f"expected an announcement of {LONGEST_SPEECH / 60:.0f} min at most"
        raise refuse(source, f"it has {analysis.seconds / 60:.0f} min; {most}")
    if (needed := analysis.seconds * ROOM) > shutil.disk_usage(made).free:
        raise SettingsError(no_room(made, needed))
    mono, heard = work / "mono.s16", work / "heard.s16"
    gain = downmix(uniform, mono, heard, analysis, _stage(progress, 0.4, 0.65), form is Form.LOOP)
    level = 32768 * 10 ** ((analysis.level + gain) / 20)
    loop = CUTTERS[form](mono, heard, level)
    spoken = speech_gains(levels(heard, loop, level)) if form is Form.SPEECH and wanted is not None else []
    heard.unlink()  # the results take its room
    if loop.length < SHORTEST * RATE:
        raise too_short(source, loop.length / RATE, SHORTEST)
    curves = measure(mono, loop)
    # a value that reaches into the silence before the beginning of a piece is not its loudness
    settled = 0 if loop.closed else min(SETTLED, len(curves[NARROW]) - 1)
    measured = curves[NARROW][settled:]
    original = Loudness(integrated(measured) - gain, loudness_range(measured), analysis.peak)
    plans, levelled, lift = {}, dict(curves), 0.0
    for rate in targets:
        envelope, gains = work / f"{rate}.envelope", []
        if spoken:
            write_gains(envelope, spoken, loop)
            gains = curve_gains(spoken, len(curves[rate]))
        elif wanted is not None and (gains := lifts(curves[rate], gain, loop.closed)):
            write_envelope(envelope, gains, loop)
            lift = max(lift, *gains)
        if gains:
            levelled[rate] = [value + more for value, more in zip(curves[rate], gains)]
        shaped = envelope if gains else None
        if spoken and wanted is not None:
            plans[rate] = speech_plan(levelled[rate][settled:], wanted, shaped)
        else:
            plans[rate] = choose_plan(curves[rate][settled:], levelled[rate][settled:], gain, wanted, shaped)
    after = render(mono, loop, targets, plans, wanted, analysis.soxr, _stage(progress, 0.7, 1.0))
    lengths = {length_of(path) for path in targets.values()}
    if lengths != {loop.length / RATE}:
        raise refuse(source, f"ffmpeg made {lengths} s of it instead of {loop.length / RATE}")
    outcome = Outcome(
        analysis,
        loop,
        wanted,
        original,
        after,
        lift,
        levelled[NARROW],
        missing=what_is_missing(source, analysis.seconds, analysis.declared, analysis.said),
        read_as=read_as(source),
        form=form,
    )
    log.debug("music: %s", in_figures(outcome))
    return Converted(in_plain_words(outcome), {"loudness": after[NARROW].integrated, "tail": loop.tail / RATE})


def _stage(progress: Optional[Progress], begin: float, end: float) -> Optional[Progress]:
    """The progress function for one stage, which takes the conversion from the share ``begin`` to the share ``end``."""
    if progress is None:
        return None
    report = progress
    return lambda share: report(begin + (end - begin) * share)


def no_room(made: Path, needed: float = 0.0) -> str:
    """The message for a full disk, on which the folder ``made`` is. ``needed`` is in octets, 0 if not known."""
    cache = made.parent.parent
    free = shutil.disk_usage(cache).free
    wants = f"{needed / 1e6:.0f} MB are needed, " if needed else ""
    return cannot_write(f"{wants}{free / 1e6:.0f} MB are free in {str(cache)!r}; expected room to write")


def cannot_write(why: str) -> str:
    """The message for a cache that takes no files."""
    return f"Cannot write the converted music: {why}"
