"""End to end, by real ffmpeg: hiss and silence that are refused, quiet music that is played, quiet passages, peaks."""

from __future__ import annotations

import random
import re
import subprocess
import wave
from array import array
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from moh.ffmpeg.run import LOG_OPTIONS, run
from moh.mastering import conversion, loudness, prepare
from moh.mastering.filter_graphs import RenderPlan
from moh.mastering.loop import LEAD, RATE, Loop
from moh.mastering.loudness import PEAK, Loudness, meters
from tests.mastering.test_loudness import meter
from tests.mastering.tracks import CHORD, NOISE, make, prepared, refusal, samples_of, settings

TEN = "aevalsrc=s=44100:d=10:exprs="
HALVES = "volume='if(lt(t,20),1,0.0178)':eval=frame"
"""The second half of 40 s is 35 dB quieter."""


def dither(path: Path, seconds: int = 10, add: Mapping[int, int] = MappingProxyType({})) -> Path:
    """Make a file of one-bit dither, with other samples at the places of ``add``."""
    samples = array("h", random.Random(1).choices((0, 1), k=44100 * seconds))
    for place, value in add.items():
        samples[place] = value
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 44100, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    return path


CLICK = {200000: 3000, 200001: -3000, 200002: 1500}
SLAM = {200000 + i: round(random.Random(i).gauss(0, 8000) * 0.9998**i) for i in range(26000)}

NO_MUSIC = {
    "dither": lambda path: dither(path),
    "dither with a click": lambda path: dither(path, add=CLICK),
    "dither with a door slam": lambda path: dither(path, 30, SLAM),
    "a silent MP3": lambda path: make(path.with_suffix(".mp3"), source="anullsrc=cl=stereo:d=10"),
    "a silent file with a beep": lambda path: make(path, source=TEN + "'0.5*between(t,5,5.2)*sin(2*PI*1000*t)'"),
    "1 kHz at -70 dBFS": lambda path: make(path, "-c:a", "pcm_s24le", source=TEN + "'0.0003*sin(2*PI*1000*t)'"),
    "hum": lambda path: make(path, source=TEN + "'0.5*sin(2*PI*50*t)'"),
    "nothing below 4 kHz": lambda path: make(path, source=TEN + "'0.5*sin(2*PI*5000*t)+0.2*sin(2*PI*8000*t)'"),
}


@pytest.mark.parametrize("kind", NO_MUSIC)
def test_hiss_and_silence_are_no_music(tmp_path: Path, kind: str) -> None:
    said = refusal(NO_MUSIC[kind](tmp_path / "track.wav"), tmp_path / "cache")
    assert re.search(r"it is almost silent: a telephone makes only \d\.\d s of its \d+\.\d s audible \(300", said)


def test_a_curve_that_the_disk_took_half_of_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffmpeg goes on if the disk takes no more of the loudness curve."""

    def on_a_full_disk(*arguments: Any) -> str:
        said = run(*arguments)
        for curve in tmp_path.rglob("*.curve"):
            curve.write_bytes(curve.read_bytes()[:2000])
        return said

    monkeypatch.setattr(loudness, "run", on_a_full_disk)
    said = refusal(make(tmp_path / "track.wav", source=NOISE + "10"), tmp_path / "cache")
    assert re.search(
        r"^Cannot write the converted music: '.*curve' has \d+ of 100 values; expected MOH_CACHE to name a folder", said
    )


MUSIC = {
    "very quiet": ("-c:a pcm_s24le -af volume=-25dB", "louder, its"),
    "nearly too quiet": ("-c:a pcm_s24le -af volume=-40dB", "louder, with any noise in it, its"),
    "one channel": ("-af pan=stereo|c0=c0|c1=0*c0", "made "),
    "out of phase": ("-af pan=stereo|c0=c0|c1=-1*c0", "left and right cancel each other out"),
    "a fifth is music": ("-af volume='lt(t,2)':eval=frame", "of silence cut off its ends"),
}


@pytest.mark.parametrize("kind", MUSIC)
def test_quiet_music_is_played(tmp_path: Path, kind: str) -> None:
    options, words = MUSIC[kind]
    made = prepared(make(tmp_path / "track.wav", *options.split(), source=NOISE + "10"))
    assert words in made.report
    for path in made.paths.values():
        loud, peak = meter(path)
        assert loud == pytest.approx(-24, abs=1)
        assert peak <= -6


# -- peaks ---------------------------------------------------------------------------------------------------------

PEAKS = {
    "clicks": ("-24", TEN + "'lt(mod(t,1),0.0003)+0.001*sin(2*PI*500*t)'"),
    "bursts": ("-16", TEN + "'lt(mod(t,2),0.004)*sin(2*PI*3100*t+1)+0.0005*sin(2*PI*500*t)'"),
    "drums": ("-16", TEN + "'lt(mod(t,0.31),0.002)*(random(0)-0.5)*2+0.002*sin(2*PI*500*t)'"),
}


@pytest.mark.parametrize("kind", PEAKS)
def test_no_peak_is_too_high_whatever_loudness_is_wanted(tmp_path: Path, kind: str) -> None:
    """To be as loud as wanted, these would need peaks above full level."""
    target, source = PEAKS[kind]
    made = prepare.prepare(settings(make(tmp_path / "track.wav", source=source), tmp_path, MOH_LOUDNESS=target))
    measured = [meter(path) for path in made.paths.values()]
    assert max(peak for _, peak in measured) <= -6
    quieter = float(target) - min(loud for loud, _ in measured)
    assert quieter <= 1.1 or "than wanted, since its loudest moments allow no more" in made.report


def test_a_peak_that_no_limiter_lowers_is_lowered_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[list[RenderPlan]] = []

    def command(_: Path, __: Loop, plans: dict[int, tuple[Path, RenderPlan]], ___: bool) -> list[str]:
        written.append([plan for _, plan in plans.values()])
        return []

    def measured(_: str) -> list[Loudness]:
        return [Loudness(-24.0, 5.0, -5.0 + plan.trim) for plan in written[-1]]

    monkeypatch.setattr(loudness, "render_command", command)
    monkeypatch.setattr(loudness, "run", lambda *_: "")
    monkeypatch.setattr(loudness, "_loudness", measured)
    plan = RenderPlan(0.0, 1.0, 0.0, PEAK)
    loop = Loop(LEAD, RATE, 1, "", 0)
    made = loudness.render(Path(), loop, {8000: Path()}, {8000: plan}, -24.0, False, None)
    assert made[8000].peak <= PEAK
    assert len(written) == loudness.TRIES + 1


# -- quiet passages ------------------------------------------------------------------------------------------------


def halves(path: Path) -> tuple[float, float]:
    """The loudness of both halves of 40 s, without the seconds in which the gain changes."""
    found = []
    for begin, end in ((5, 15), (25, 37)):
        chain = f"atrim={begin}:{end},aresample=48000,ebur128=framelog=verbose"
        command = ["ffmpeg", *LOG_OPTIONS, "-i", f"file:{path}", "-af", chain, "-f", "null", "-"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        found += meters(said, "ebur128", "I")
    return found[0], found[1]


@pytest.mark.parametrize("source", [NOISE, CHORD], ids=["noise", "chord"])
def test_a_half_35_db_below_the_other_is_lifted(tmp_path: Path, source: str) -> None:
    made = prepared(make(tmp_path / "halves.wav", "-af", HALVES, source=source + "40"))
    assert "quiet passages lifted by up to 23 dB" in made.report
    for rate, path in made.paths.items():
        loud, quiet = halves(path)
        assert loud - quiet == pytest.approx(11.6, abs=0.5)
        assert meter(path)[0] == pytest.approx(-24, abs=1)
        assert meter(path)[1] <= -6
        samples = samples_of(path)
        steps = [abs(b - a) for a, b in zip(samples, samples[1:])]
        assert abs(samples[0] - samples[-1]) <= max(steps), "the gain is continuous at the seam"
        begin = max(map(abs, samples[: rate // 5]))
        assert begin < 1.5 * max(map(abs, samples[2 * rate : 4 * rate])), "the beginning does not burst in"


def test_loudness_off_leaves_a_quiet_half_as_it_is(tmp_path: Path) -> None:
    track = make(tmp_path / "halves.wav", "-af", HALVES, source=NOISE + "40")
    made = prepare.prepare(settings(track, tmp_path, MOH_LOUDNESS="off"))
    for path in made.paths.values():
        loud, quiet = halves(path)
        assert loud - quiet == pytest.approx(35, abs=0.5)
    assert made.report.startswith("as loud as it was, its ")


LEFT_ALONE = {
    "steady": "anull",
    "pause of 4 s": "volume='1-between(t,6,10)':eval=frame",
    "hiss in a pause of 8 s": "volume='1-0.996*between(t,6,14)':eval=frame",
}


@pytest.mark.parametrize("kind", ["built-in", *LEFT_ALONE])
def test_music_without_long_quiet_passages_is_left_alone_by_the_leveller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Null comparison: what is written is the same, bit by bit, as without a leveller."""
    shape = LEFT_ALONE.get(kind)
    track = make(tmp_path / "a.wav", "-af", shape, source=NOISE + "20") if shape else prepare.BUILTIN
    with_it = prepare.prepare(settings(track, tmp_path / "with"))
    monkeypatch.setattr(conversion, "lifts", lambda *_: [])
    without = prepare.prepare(settings(track, tmp_path / "without"))
    for rate in with_it.paths:
        assert samples_of(with_it.paths[rate]) == samples_of(without.paths[rate])
    assert "lifted" not in with_it.report


@pytest.mark.parametrize("target", ["-24", "off"])
def test_a_silence_of_5_s_is_told_with_its_place_in_the_file(tmp_path: Path, target: str) -> None:
    pause = "volume='1-between(t,12,19)':eval=frame,adelay=2000"
    track = make(tmp_path / "pause.wav", "-af", pause, source=NOISE + "30")
    made = prepare.prepare(settings(track, tmp_path, MOH_LOUDNESS=target))
    assert made.report.endswith("2.0 s of silence cut off its ends, silent from 0:14 to 0:21"), made.report
