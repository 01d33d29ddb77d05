"""What was done to the music, in words for the log: plain ones for the owner, and figures for ``MOH_LOG=debug``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from .curve import silences
from .filter_graphs import LONGEST, NARROW, Analysis
from .form import Form
from .loop import LEAD, RATE, Loop
from .loudness import Loudness

LEAST_SILENCE = 5.0
"""Seconds of silence within the music that the report names: after them a caller may hang up."""
MOST_SILENCES = 3
"""How many silences the report names with their places."""
MUCH_GAIN = 30.0
"""dB of gain above which the noise in a file may become audible."""
LIFTED = 3.0
"""dB of gain for quiet passages that are worth a word."""


@dataclass(frozen=True)
class Outcome:
    """What the steps of a conversion found and made."""

    analysis: Analysis
    loop: Loop
    wanted: Optional[float]
    """The loudness that was wanted in LUFS; ``None`` if it was to stay as it is."""
    before: Loudness
    """The loudness of the owner's file in the telephone's band."""
    after: Mapping[int, Loudness]
    """The loudness of the converted file for each sample rate."""
    lift: float
    """The most that the leveller lifted a quiet passage, in dB."""
    levelled: Sequence[float]
    """The loudness curve in the telephone's band, behind the leveller."""
    missing: str = ""
    """What is missing of the owner's file, in words."""
    read_as: str = ""
    """As what a file without a header was read, in words."""
    form: Form = Form.LOOP


def in_plain_words(outcome: Outcome) -> str:
    """What was done, for an owner who knows nothing of audio."""
    analysis, loop, after = outcome.analysis, outcome.loop, outcome.after[NARROW]
    done = [_louder(after.integrated - outcome.before.integrated)]
    if outcome.wanted is not None:
        missing = outcome.wanted - min(loudness.integrated for loudness in outcome.after.values())
        if missing > 1:
            done.append(f"{missing:.0f} dB quieter than wanted, since its loudest moments allow no more")
    if outcome.lift >= LIFTED:
        done.append(f"quiet passages lifted by up to {outcome.lift:.0f} dB")
    elif outcome.before.range - after.range > 1:
        done.append("loud and quiet passages brought closer together")
    if outcome.form is Form.LOOP:
        done.append(_seam(loop.seam))
    elif outcome.form is Form.SPEECH and outcome.wanted is not None:
        done.append("mastered as speech")
    if analysis.weights[1] < 0:
        done.append("left and right cancel each other out, so their difference is played")
    if loop.trimmed >= RATE // 10:
        done.append(f"{loop.trimmed / RATE:.1f} s of silence cut off its ends")
    offset = (loop.start - LEAD) / RATE
    if found := [(begin + offset, end + offset) for begin, end in silences(outcome.levelled, LEAST_SILENCE)]:
        done.append(_silent(found))
    if analysis.seconds >= LONGEST - 1:
        done.append(f"only the first {LONGEST / 60:.0f} min of it")
    elif outcome.missing:
        done.append(outcome.missing)
    if outcome.read_as:
        done.append(outcome.read_as)
    return ", ".join(done)


def _louder(gain: float) -> str:
    if abs(gain) < 0.5:
        return "as loud as it was"
    if gain < 0:
        return f"made {-gain:.0f} dB quieter"
    return f"made {gain:.0f} dB louder" + (", with any noise in it" if gain > MUCH_GAIN else "")


def gain_of(report: str) -> Optional[float]:
    """By how many dB the music was made louder, as a report ``in_plain_words`` says; ``None`` where it says nothing."""
    if report.startswith("as loud as it was"):
        return 0.0
    found = re.match(r"made (\d+) dB (louder|quieter)", report)
    return None if found is None else float(found[1]) * (1 if found[2] == "louder" else -1)


def loudness_of(report: str, wanted: Optional[float]) -> Optional[float]:
    """The loudness of the converted music in LUFS: ``wanted``, or less if the report says so; ``None`` if unknown."""
    found = re.search(r"(\d+) dB quieter than wanted", report)
    return wanted if wanted is None or found is None else wanted - float(found[1])


def _seam(seam: str) -> str:
    if seam == "as it was":
        return "its end meets its beginning without a gap"
    if seam == "faded":
        return "it fades out and begins again"
    return "its end fades into its beginning"


def _silent(places: Sequence[tuple[float, float]]) -> str:
    texts = [f"{_clock(begin)} to {_clock(end)}" for begin, end in places]
    if len(texts) > MOST_SILENCES:
        texts[MOST_SILENCES:] = [f"{len(texts) - MOST_SILENCES} more times"]
    *others, last = texts
    return f"silent from {', '.join(others)} and {last}" if others else f"silent from {last}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def in_figures(outcome: Outcome) -> str:
    """What was measured before and after, for an audio engineer."""
    before = outcome.before
    parts = [f"file {before.integrated:.1f} LUFS in the telephone's band, range {before.range:.1f} LU"]
    parts += [
        f"{rate} Hz: {after.integrated:.1f} LUFS, range {after.range:.1f} LU, peak {after.peak:.1f} dBTP"
        for rate, after in sorted(outcome.after.items())
    ]
    parts += [f"leveller at most {outcome.lift:.1f} dB", f"seam {outcome.loop.seam}"]
    return "; ".join(parts)
