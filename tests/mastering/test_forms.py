"""End to end, by real ffmpeg: files that are prepared as pieces of several, and as announcements."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.common.silence import in_telephone_band
from moh.common.errors import SettingsError
from moh.mastering import conversion
from moh.mastering.cache import FIGURES, Lock
from moh.mastering.form import Form
from moh.mastering.prepare import entry_for, prepare_file
from tests.mastering.test_loudness import meter
from tests.mastering.tracks import CHORD, NOISE, made_as, make, prepared, samples_of, settings, voice

POP = (
    "aevalsrc='clip(5*(sin(2*PI*220*t)+0.7*sin(2*PI*331*t)+2*exp(-12*mod(t,0.5))*(random(0)-0.5)),-0.9,0.9)':s=44100:d="
)
CLASSICAL = (
    "aevalsrc='0.06*pow(10,-mod(floor(t/3)*9,20)/20)*(sin(2*PI*392*t)*exp(-1.5*mod(t,1))"
    "+0.6*sin(2*PI*523*t)*exp(-1.2*mod(t+0.4,1.6)))':s=48000:d="
)


def loudest(samples: Sequence[int]) -> int:
    return max(map(abs, samples))


# -- loudness ------------------------------------------------------------------------------------------------------


def test_a_loud_a_quiet_and_a_spoken_piece_have_one_loudness(tmp_path: Path) -> None:
    """The loudness is measured in the converted files by ffmpeg's ebur128, at 48 kHz."""
    loud = make(tmp_path / "loud.flac", source=POP + "8")
    quiet = make(tmp_path / "quiet.flac", "-af", "volume=-3dB", source=CLASSICAL + "12")
    talk = voice(tmp_path / "talk.flac", 8)
    assert meter(loud)[0] > -10 and meter(quiet)[0] < -33
    for form, source in ((Form.PIECE, loud), (Form.PIECE, quiet), (Form.PIECE, talk), (Form.SPEECH, talk)):
        made = made_as(form, source)
        for rate, path in made.paths.items():
            loudness, peak = meter(path)
            assert loudness == pytest.approx(-24, abs=1.0), (form, source)
            assert peak <= -6
            if rate == 8000:
                assert made.loudness == pytest.approx(loudness, abs=0.3)


@pytest.mark.parametrize("seconds", [0.25, 0.5, 1.0])
def test_a_short_announcement_has_the_wanted_loudness(tmp_path: Path, seconds: float) -> None:
    made = made_as(Form.SPEECH, voice(tmp_path / "hold.wav", seconds), MOH_LOUDNESS="-20")
    assert seconds <= made.seconds + 0.15
    if made.seconds >= 0.5:  # a shorter one has its loudness with the silence around it
        assert made.loudness == pytest.approx(-20, abs=1.0)
        assert meter(made.paths[8000])[0] == pytest.approx(-20, abs=1.0)
    assert max(meter(path)[1] for path in made.paths.values()) <= -6


@pytest.mark.parametrize("form", [Form.PIECE, Form.SPEECH])
def test_loudness_off_leaves_the_loudness_as_it_was(tmp_path: Path, form: Form) -> None:
    made = made_as(form, voice(tmp_path / "talk.wav", 4), MOH_LOUDNESS="off")
    assert made.loudness is None
    assert made.report.startswith("as loud as it was") and "speech" not in made.report


def level(samples: Sequence[int]) -> float:
    return 10 * math.log10(sum(value * value for value in samples) / len(samples) + 1e-9)


@pytest.mark.parametrize("noise", [0.005, 0.03])
def test_noise_in_pauses_is_not_lifted_and_soft_syllables_are(tmp_path: Path, noise: float) -> None:
    """The voice pauses from 2 to 3 s and from 5 to 6 s."""
    track = voice(tmp_path / "talk.wav", 8, noise)
    speech, piece = made_as(Form.SPEECH, track), made_as(Form.PIECE, track)
    figures = []
    for made in (speech, piece):
        samples = samples_of(made.paths[8000])
        assert made.seconds == pytest.approx(8, abs=0.2)

        def part(begin: float, end: float, samples: Sequence[int] = samples) -> float:
            return level(samples[round(begin * 8000) : round(end * 8000)])

        # the syllables at 3.0 and 3.75 s are soft, those at 3.25 and 3.5 s are not
        figures.append((part(2.5, 2.9) - part(3.25, 3.74), part(3.0, 3.15) - part(3.25, 3.74)))
    (pause, soft), (pause_before, soft_before) = figures
    assert pause <= pause_before - 3
    assert soft >= soft_before + 1.5


# -- the ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_attack_comes_5_ms_after_the_beginning(tmp_path: Path, rate: int) -> None:
    """A tone that begins at once after 1 s of silence and ends at once before 1 s of it."""
    source = "aevalsrc='0.3*between(t,1,3)*sin(2*PI*1000*t)':s=44100:d=4"
    made = made_as(Form.PIECE, make(tmp_path / "tone.wav", source=source))
    samples = samples_of(made.paths[rate])
    loud = 0.5 * loudest(samples)
    begin = next(i for i, value in enumerate(samples) if abs(value) > loud) / rate
    end = next(i for i in reversed(range(len(samples))) if abs(samples[i]) > loud) / rate
    assert begin == pytest.approx(0.005, abs=0.0015)
    assert end - begin == pytest.approx(2, abs=0.002)
    assert made.seconds - made.tail == pytest.approx(end, abs=0.006)


def strength(samples: Sequence[int], frequency: float, rate: int) -> float:
    turn = 2 * math.pi * frequency / rate
    parts = (sum(value * wave(turn * i) for i, value in enumerate(samples)) for wave in (math.sin, math.cos))
    return math.hypot(*parts) / len(samples)


def test_nothing_of_its_end_is_under_its_beginning(tmp_path: Path) -> None:
    """Two tones, each for half of the piece. In a loop, the second would sound on under the first."""
    source = "aevalsrc='0.3*if(lt(t,2),sin(2*PI*700*t),sin(2*PI*1900*t))':s=44100:d=4"
    track = make(tmp_path / "two.wav", source=source)
    for rate, path in made_as(Form.PIECE, track).paths.items():
        samples = samples_of(path)
        first, last = samples[rate // 100 : rate // 10], samples[-rate // 10 : -rate // 100]
        assert strength(first, 1900, rate) < 0.002 * strength(first, 700, rate)
        assert strength(last, 700, rate) < 0.002 * strength(last, 1900, rate)
    looped = samples_of(prepared(track).paths[8000])[:400]
    assert strength(looped, 1900, 8000) > 0.1 * strength(looped, 700, 8000), "the test sees what it looks for"


def test_a_fade_out_stays_and_its_last_part_is_the_tail(tmp_path: Path) -> None:
    made = made_as(Form.PIECE, make(tmp_path / "fade.mp3", "-af", "afade=t=out:st=4:d=6", source=CHORD + "12"))
    assert 0.1 <= made.tail <= 2.0
    assert 9 < made.seconds < 10.2
    for rate, path in made.paths.items():
        samples = in_telephone_band(samples_of(path), rate)
        whole, at = loudest(samples), len(samples) - round(made.tail * rate)
        assert loudest(samples[at - rate // 5 : at]) > 0.05 * whole, "what can be heard comes before the tail"
        assert loudest(samples[at:]) < 0.15 * whole
        assert loudest(samples[-rate // 50 :]) < 0.005 * whole


# -- the cache -----------------------------------------------------------------------------------------------------


def test_each_form_of_a_file_has_an_entry_of_its_own(tmp_path: Path) -> None:
    track = voice(tmp_path / "talk.wav", 2)
    made = {form: made_as(form, track) for form in Form}
    assert len({music.folder for music in made.values()}) == 3
    for form, music in made.items():
        again = made_as(form, track)
        assert (again.took, again.paths, again.seconds) == (0.0, music.paths, music.seconds)
        assert (again.loudness, again.tail, again.report) == (music.loudness, music.tail, music.report)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_a_loop_has_the_entry_that_it_always_had(tmp_path: Path) -> None:
    """The name of the folder is what version 0.1.0 gave it: no owner's file is converted again."""
    track = Path("/music/track.wav")
    entry = entry_for(track, settings(cache=tmp_path), Form.LOOP, "0123")
    assert entry.folder.name == "7fd6a46ad74e-dd577a7d2c19-9ca090d577af"


def test_an_entry_of_a_former_version_has_no_figures(tmp_path: Path) -> None:
    track = make(tmp_path / "tone.wav")
    (prepared(track).folder / FIGURES).unlink()
    found = prepared(track)
    assert (found.took, found.loudness, found.tail) == (0.0, -24.0, 0.0)


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[]", b'{"loudness": "x"}', b'{"tail": NaN}', b"\xff", b"[" * 4000])
def test_spoilt_figures_count_as_none(tmp_path: Path, spoilt: bytes) -> None:
    track = make(tmp_path / "tone.wav")
    (prepared(track).folder / FIGURES).write_bytes(spoilt)
    found = prepared(track)
    assert (found.took, found.loudness, found.tail) == (0.0, -24.0, 0.0)


def test_another_process_can_lock_the_folder(tmp_path: Path) -> None:
    made = made_as(Form.PIECE, make(tmp_path / "tone.wav"))
    theirs = Lock(made.folder)
    with pytest.raises(BlockingIOError):
        Lock(made.folder, exclusive=True)
    del theirs


def test_progress_cancels_the_conversion_and_leaves_nothing(tmp_path: Path) -> None:
    track = make(tmp_path / "track.wav", source=NOISE + "3")

    def cancel(share: float) -> None:
        if share > 0.5:
            raise ZeroDivisionError

    for form in Form:
        with pytest.raises(ZeroDivisionError):
            prepare_file(track, settings(cache=tmp_path / "cache"), form, cancel)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("moment", ["refuse_protected", "downmix", "what_is_missing", "in_plain_words"])
def test_a_file_that_is_removed_while_it_is_converted_is_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    track = voice(tmp_path / "talk.wav", 1)
    step = getattr(conversion, moment)

    def after_the_removal(*arguments: Any) -> Any:
        track.unlink(missing_ok=True)
        return step(*arguments)

    monkeypatch.setattr(conversion, moment, after_the_removal)
    for form in (Form.PIECE, Form.SPEECH):
        with pytest.raises(SettingsError, match=r"No such file or directory; expected an audio file$"):
            made_as(form, track)
    assert os.listdir(tmp_path / "cache") == []


def test_an_hour_is_no_announcement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "LONGEST_SPEECH", 2.4)
    track = voice(tmp_path / "talk.wav", 3)
    assert made_as(Form.PIECE, track).seconds > 1
    with pytest.raises(SettingsError, match=r"it has 0 min; expected an announcement of 0 min at most"):
        made_as(Form.SPEECH, track)


# -- any format ----------------------------------------------------------------------------------------------------

COVER = ("-f", "lavfi", "-i", "color=red:size=64x64:d=0.04:rate=25", "-map", "0", "-map", "1")
FORMATS: dict[str, tuple[str, ...]] = {
    "8 bit.wav": ("-c:a", "pcm_u8"),
    "24 bit.wav": ("-c:a", "pcm_s24le", "-ar", "96000"),
    "float.wav": ("-c:a", "pcm_f32le"),
    "surround.wav": ("-af", "pan=5.1|FL=c0|FR=c0|FC=c0"),
    "mono.mp3": ("-ac", "1"),
    "cover.mp3": (*COVER, "-c:v", "mjpeg", "-disposition:v", "attached_pic", "-ac", "2"),
    "cover.flac": (*COVER, "-c:v", "mjpeg", "-disposition:v", "attached_pic"),
    "a.m4a": ("-ac", "2"),
    "film.mp4": ("-f", "lavfi", "-i", "testsrc=size=64x64:d=2", "-map", "0", "-map", "1"),
    "a.ogg": ("-ac", "2"),
    "a.opus": ("-ac", "2", "-ar", "48000"),
    "surround.opus": ("-af", "pan=5.1|FL=c0|FR=c0|FC=c0", "-ar", "48000"),
    "a.wma": ("-ac", "2"),
    "a.aiff": ("-ac", "2"),
    "a.au": (),
    "a.wv": (),
}


@pytest.mark.parametrize("name", FORMATS)
def test_any_format_becomes_a_piece(tmp_path: Path, name: str) -> None:
    track = make(tmp_path / name, *FORMATS[name], source=CHORD + "2")
    made = made_as(Form.PIECE, track)
    assert made.seconds - made.tail == pytest.approx(2, abs=0.05), "an encoder's padding is silence"
    loudness, peak = meter(made.paths[8000])
    assert loudness == pytest.approx(-24, abs=1)
    assert peak <= -6


@pytest.mark.parametrize("form", [Form.PIECE, Form.SPEECH])
def test_a_file_that_is_no_music_is_refused_in_the_owners_words(tmp_path: Path, form: Form) -> None:
    text = tmp_path / "text.mp3"
    text.write_text("no music\n" * 100)
    silent = make(tmp_path / "silent.wav", source="anullsrc=d=3")
    for track, why in ((text, "it is a text"), (silent, "it is almost silent"), (tmp_path / "gone", "No such file")):
        with pytest.raises(SettingsError, match=f"^Cannot play '{track}': {why}"):
            made_as(form, track)
    assert os.listdir(tmp_path / "cache") == []
