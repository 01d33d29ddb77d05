"""The report of a conversion: each thing that was done, in words that need no knowledge of audio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

import pytest

from moh.mastering.cache import MOST_REPORT
from moh.mastering.filter_graphs import Analysis
from moh.mastering.loop import LEAD, RATE, Loop
from moh.mastering.loudness import Loudness
from moh.mastering.report import Outcome, gain_of, in_figures, in_plain_words, loudness_of

MUSIC, SILENT = [-24.0], [-90.0]


def outcome(
    before: float = -24.0,
    after: float = -24.0,
    wide: float = -24.0,
    wanted: Any = -24.0,
    ranges: tuple[float, float] = (6.0, 6.0),
    lift: float = 0.0,
    curve: Any = tuple(MUSIC * 100),
    loop: Mapping[str, Any] = {},
    analysis: Mapping[str, Any] = {},
    **words: Any,
) -> Outcome:
    facts = {"weights": (0.5, 0.5), "level": before, "heard": 10.0, "peak": -3.0, "seconds": 180.0, "declared": 180.0}
    place = {"start": LEAD, "length": 10 * RATE, "times": 1, "seam": "as it was", "trimmed": 0}
    return Outcome(
        Analysis(**{**facts, "soxr": True, **analysis}),
        Loop(**{**place, **loop}),
        wanted,
        Loudness(before, ranges[0], -3.0),
        {8000: Loudness(after, ranges[1], -7.0), 16000: Loudness(wide, ranges[1], -6.9)},
        lift,
        curve,
        **words,
    )


SEAM = ", its end meets its beginning without a gap"

WORDS = [
    ({}, "as loud as it was" + SEAM),
    ({"before": -14.2}, "made 10 dB quieter" + SEAM),
    ({"before": -50.0}, "made 26 dB louder" + SEAM),
    ({"before": -54.2}, "made 30 dB louder, with any noise in it" + SEAM),
    ({"after": -29.0}, "made 5 dB quieter, 5 dB quieter than wanted, since its loudest moments allow no more" + SEAM),
    ({"wide": -26.0}, "as loud as it was, 2 dB quieter than wanted, since its loudest moments allow no more" + SEAM),
    ({"wanted": None, "after": -30.0, "before": -30.0}, "as loud as it was" + SEAM),
    ({"lift": 21.9}, "as loud as it was, quiet passages lifted by up to 22 dB" + SEAM),
    ({"ranges": (15.0, 8.0)}, "as loud as it was, loud and quiet passages brought closer together" + SEAM),
    ({"loop": {"seam": "cross-faded over 60 ms"}}, "as loud as it was, its end fades into its beginning"),
    ({"loop": {"seam": "faded"}}, "as loud as it was, it fades out and begins again"),
    ({"loop": {"trimmed": 40000}}, "as loud as it was" + SEAM + ", 2.5 s of silence cut off its ends"),
    (
        {"curve": MUSIC * 803 + SILENT * 107 + MUSIC * 100, "loop": {"start": LEAD + 2 * RATE}},
        "as loud as it was" + SEAM + ", silent from 1:22 to 1:33",
    ),
    (
        {"curve": (MUSIC * 103 + SILENT * 57) * 5},
        f"as loud as it was{SEAM}, silent from 0:10 to 0:16, 0:26 to 0:32, 0:42 to 0:48 and 2 more times",
    ),
    (
        {"analysis": {"weights": (0.5, -0.5)}},
        "as loud as it was" + SEAM + ", left and right cancel each other out, so their difference is played",
    ),
    ({"analysis": {"seconds": 3600.0}}, "as loud as it was" + SEAM + ", only the first 60 min of it"),
    ({"missing": "61 of 180 s"}, "as loud as it was" + SEAM + ", 61 of 180 s"),
    ({"missing": "x", "analysis": {"seconds": 3600.0}}, f"as loud as it was{SEAM}, only the first 60 min of it"),
    ({"read_as": "read as G.722"}, "as loud as it was" + SEAM + ", read as G.722"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "words"), WORDS, ids=[words.rpartition(", ")[2] for _, words in WORDS])
def test_the_owner_reads_plain_words(found: dict[str, Any], words: str) -> None:
    said = in_plain_words(outcome(**found))
    assert said == words
    assert not re.search("LUFS|LU|dBTP|seam|peak|phase|cross-fade", said)
    assert said.isprintable() and len(said) < MOST_REPORT


def test_the_figures_are_for_an_audio_engineer() -> None:
    assert in_figures(outcome(before=-14.23, wide=-24.1, lift=3.21)) == (
        "file -14.2 LUFS in the telephone's band, range 6.0 LU; 8000 Hz: -24.0 LUFS, range 6.0 LU, peak -7.0 dBTP; "
        "16000 Hz: -24.1 LUFS, range 6.0 LU, peak -6.9 dBTP; leveller at most 3.2 dB; seam as it was"
    )


@pytest.mark.parametrize(("before", "gain"), [(-24.0, 0.0), (-14.0, -10.0), (-34.0, 10.0), (-60.0, 36.0), (-24.3, 0.0)])
def test_the_gain_can_be_read_from_the_report(before: float, gain: float) -> None:
    assert gain_of(in_plain_words(outcome(before=before, after=-24.0))) == gain
    assert gain_of("another report") is None


@pytest.mark.parametrize(
    ("after", "wanted", "loudness"), [(-24.0, -24.0, -24.0), (-28.0, -24.0, -28.0), (-20.0, None, None)]
)
def test_the_loudness_can_be_read_from_the_report(after: float, wanted: Optional[float], loudness: object) -> None:
    report = in_plain_words(outcome(after=after, wide=after, wanted=wanted))
    assert loudness_of(report, wanted) == loudness
