"""End to end, by real ffmpeg: loudness, channels and loop point of converted music, and files that cause trouble."""

from __future__ import annotations

import logging
import re
import subprocess
import wave
from array import array
from pathlib import Path

import pytest

from moh.ffmpeg.run import LOG_OPTIONS
from moh.mastering import conversion, report
from moh.mastering import filter_graphs as filters
from moh.mastering import prepare as music
from moh.mastering.loudness import analyse, meters
from moh.mastering.prepare import BUILTIN
from tests.mastering.tracks import CHORD, NOISE, make, prepared, refusal, samples_of, settings


def meter(path: Path) -> tuple[float, float]:
    """Return integrated loudness and true peak, measured independently at 48 kHz."""
    command = [
        "ffmpeg",
        *LOG_OPTIONS,
        "-i",
        f"file:{path}",
        "-af",
        "aresample=48000,ebur128=peak=true:framelog=verbose",
    ]
    said = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, check=True).stderr
    return meters(said, "ebur128", "I")[0], meters(said, "ebur128", "Peak")[0]


# -- loudness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "target", "words"),
    [("volume=20dB", "-24", "made 16 dB quieter"), ("volume=-30dB", "-24", "made 31 dB louder, with any noise in it"),
     ("anull", "-17.5", "made 8 dB louder"),
     ("volume='pow(10,-mod(floor(t)*7,25)/20)':eval=frame", "-24", "made ")],
    ids=["clipped", "faint", "loud by wish", "of wide range"],
)  # fmt: skip
def test_music_has_the_wanted_loudness_and_stays_below_the_peak(
    tmp_path: Path, filters: str, target: str, words: str
) -> None:
    track = make(tmp_path / "track.flac", "-af", filters, source=NOISE + "9")
    made = music.prepare(settings(track, tmp_path / "cache", MOH_LOUDNESS=target))
    for path in made.paths.values():
        loudness, peak = meter(path)
        assert loudness == pytest.approx(float(target), abs=1.0)
        assert peak <= -6
    assert made.report.startswith(words)


def test_a_wide_range_is_narrowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "moh")
    waves = "volume='pow(10,-mod(floor(t/4)*7,25)/20)':eval=frame"
    made = prepared(make(tmp_path / "waves.flac", "-af", waves, source=NOISE + "32"))
    assert "quiet passages" in made.report
    before, *after = map(float, re.findall(r"range (\d+\.\d) LU", caplog.text))
    assert before >= 12
    assert max(after) <= 9.5


def test_loudness_off_leaves_the_loudness_as_it_was(tmp_path: Path) -> None:
    tone = make(tmp_path / "tone.wav", "-af", "volume=-10dB")
    before, _ = meter(tone)
    off, usual = (music.prepare(settings(tone, tmp_path, MOH_LOUDNESS=loudness)) for loudness in ("off", ""))
    assert meter(off.paths[8000])[0] == pytest.approx(before, abs=1.0)
    assert off.paths != usual.paths


def test_only_what_a_telephone_passes_is_left(tmp_path: Path) -> None:
    """G.711 has no hum of 60 Hz beside a tone of 1 kHz. A whistle of 7.8 kHz is not aliased to 200 Hz."""
    mixture = "aevalsrc=0.2*sin(2*PI*60*t)+0.05*sin(2*PI*1000*t)+0.2*sin(2*PI*7800*t):s=44100:d=3"
    made = prepared(make(tmp_path / "mixture.wav", source=mixture))
    for rate, path in made.paths.items():
        for q, frequency, floor in ((20, 60, -30), (20, 200, -30)):
            if (rate, frequency) == (16000, 60):
                continue  # G.722 passes 60 Hz
            chain = f"bandpass=f={frequency}:t=q:w={q},atrim=start=1,astats=measure_perchannel=none"
            command = ["ffmpeg", *LOG_OPTIONS, "-i", f"file:{path}", "-af", chain, "-f", "null", "-"]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
            assert meters(said, "astats", "RMS level dB")[0] < -24 + floor


# -- channels ------------------------------------------------------------------------------------------------------


def test_channels_out_of_phase_do_not_cancel_each_other(tmp_path: Path) -> None:
    made = prepared(make(tmp_path / "phase.wav", "-af", "pan=stereo|c0=c0|c1=-1*c0", source=NOISE + "3"))
    assert meter(made.paths[8000])[0] == pytest.approx(-24, abs=1)
    assert "left and right cancel each other out" in made.report


@pytest.mark.parametrize("layout", ["5.1", "7.1", "12c"])
def test_all_of_many_channels_are_in_the_mix(tmp_path: Path, layout: str) -> None:
    """The music is in the centre channel of a cinema layout, or in one of 12 channels without known places."""
    track = tmp_path / "many.wav"
    if layout == "12c":
        with wave.open(str(track), "wb") as sound:
            sound.setparams((12, 2, 8000, 0, "NONE", ""))
            frames = (array("h", [0, 0, 9000 * (-1) ** (i // 8)] + 9 * [0]) for i in range(8000))
            sound.writeframes(b"".join(frame.tobytes() for frame in frames))
    else:
        make(track, "-af", f"pan={layout}|FC=c0", source=NOISE + "1")
    assert meter(prepared(track).paths[8000])[0] == pytest.approx(-24, abs=1)


@pytest.mark.parametrize("rate", ["8000", "192000"])
def test_any_sample_rate_will_do(tmp_path: Path, rate: str) -> None:
    made = prepared(make(tmp_path / "track.wav", "-ar", rate, source=NOISE + "1"))
    assert made.seconds == pytest.approx(1.0, abs=0.1)


def test_an_mp3_of_two_forms_is_played_whole(tmp_path: Path) -> None:
    """The MP3 is made of two joined files, one mono and one stereo, with different sample rates."""
    first = make(tmp_path / "first.mp3", "-ac", "1", "-ar", "44100", source="sine=600:d=2")
    then = make(tmp_path / "then.mp3", "-ac", "2", "-ar", "48000", source="sine=900:d=2")
    both = tmp_path / "both.mp3"
    both.write_bytes(first.read_bytes() + then.read_bytes())
    assert prepared(both).seconds == pytest.approx(4.0, abs=0.2)


# -- the loop point ------------------------------------------------------------------------------------------------


def steps(samples: array[int]) -> list[int]:
    """Return the steps from each sample to the next, and from the last sample to the first."""
    return [abs(b - a) for a, b in zip(samples, samples[1:] + samples[:1])]


def assert_whole(samples: array[int]) -> None:
    """Assert that the loop point has no larger step than other places, and no gap."""
    sizes = steps(samples)
    assert sizes[-1] <= sorted(sizes)[int(len(sizes) * 0.999)]
    assert max(map(abs, samples[-160:])) > 100
    assert max(map(abs, samples[:160])) > 100


def test_a_perfect_loop_stays_as_it_is(tmp_path: Path) -> None:
    made = music.prepare(settings(BUILTIN, tmp_path))
    assert made.seconds == 48.0
    assert "its end meets its beginning" in made.report
    assert_whole(samples_of(made.paths[8000]))


@pytest.mark.parametrize("tag", ["0", "1"])
def test_an_mp3_loops_without_gap_or_click_with_a_lame_tag_and_without(tmp_path: Path, tag: str) -> None:
    track = make(tmp_path / "cut.mp3", "-c:a", "libmp3lame", "-write_xing", tag, source=CHORD + "5.037")
    made = prepared(track)
    assert made.seconds == pytest.approx(5.0, abs=0.12)
    assert made.seconds * 50 == pytest.approx(round(made.seconds * 50)), "whole packets"
    assert "its end fades into its beginning" in made.report
    assert_whole(samples_of(made.paths[8000]))


def test_both_rates_are_equally_long(tmp_path: Path) -> None:
    made = prepared(make(tmp_path / "odd.wav", source=NOISE + "1.23457"))
    assert 2 * len(samples_of(made.paths[8000])) == len(samples_of(made.paths[16000]))


def test_silence_at_both_ends_is_cut_and_a_fade_kept(tmp_path: Path) -> None:
    shape = "afade=t=out:st=2:d=3:curve=exp,adelay=700,apad=pad_dur=1.5"
    made = prepared(make(tmp_path / "fade.mp3", "-af", shape, source=NOISE + "5"))
    samples = samples_of(made.paths[8000])
    assert 2.6 < made.seconds < 3.2, "of the fade, which falls by 33 dB a second, the first 22 dB"
    assert max(map(abs, samples[:400])) > 300, "it begins without silence"
    assert 30 < max(map(abs, samples[-1600:])) < 1500, "its faint end is kept"
    assert re.search(r"it fades out and begins again, \d\.\d s of silence cut", made.report), made.report


def test_silence_at_the_end_is_cut_however_loud_the_beginning_is(tmp_path: Path) -> None:
    """A resampler makes sound just before a loud beginning. In the loop that sound is behind the end."""
    tone = "aevalsrc=0.8*cos(2*PI*3000*t):s=44100:d=2"
    made = prepared(make(tmp_path / "cut.wav", "-af", "apad=pad_dur=1", source=tone))
    assert made.seconds == pytest.approx(1.97, abs=0.05)


def test_a_pause_within_the_music_stays(tmp_path: Path) -> None:
    pause = "volume='between(t,0,1)+between(t,3,4)':eval=frame"
    assert prepared(make(tmp_path / "pause.wav", "-af", pause, source=NOISE + "4")).seconds == pytest.approx(4, abs=0.1)


# -- trouble -------------------------------------------------------------------------------------------------------


def test_a_silent_file_is_refused_and_called_silent(tmp_path: Path) -> None:
    silence = make(tmp_path / "silence.mp3", source="anullsrc=duration=1")
    assert "it is almost silent" in refusal(silence, tmp_path / "cache")


def test_a_fifth_of_a_second_is_music(tmp_path: Path) -> None:
    made = prepared(make(tmp_path / "ping.wav", source="sine=duration=0.2"))
    assert 0.1 < made.seconds <= 0.2
    assert meter(Path(made.paths[8000]))[0] != 0


def test_a_file_that_breaks_off_plays_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.wav", source=NOISE + "4")
    cut = tmp_path / "cut.flac"
    make(cut, source=NOISE + "4")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    made = prepared(cut)
    assert made.seconds == pytest.approx(2, abs=0.5)
    assert "only 2 of its 4 s can be read" in made.report
    whole.write_bytes(whole.read_bytes()[:30])
    assert "ffmpeg can read no sound in it" in refusal(whole, tmp_path / "cache")


def test_a_file_of_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    track = make(tmp_path / "drm.wav")
    content = track.read_bytes()
    track.write_bytes(content[:20] + b"\x99\x99" + content[22:])
    said = refusal(track, tmp_path / "cache")
    assert said.endswith(
        ": its sound is of a kind that ffmpeg does not know; expected it converted to MP3, FLAC or WAV"
    )


def test_an_hour_of_a_longer_file_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "LONGEST", 3.0)
    monkeypatch.setattr(report, "LONGEST", 3.0)
    made = prepared(make(tmp_path / "long.wav", source=NOISE + "6"))
    assert made.seconds == pytest.approx(3, abs=0.1)
    assert "only the first" in made.report


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track = make(tmp_path / "track.wav", source=NOISE + "1")
    longer = make(tmp_path / "longer.wav", source=NOISE + "2")

    def meanwhile(source: Path, *rest: object) -> object:
        if longer.exists():
            longer.replace(track)
        return analyse(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(conversion, "analyse", meanwhile)
    assert prepared(track).seconds == pytest.approx(2, abs=0.1)


def test_a_file_that_never_stops_changing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track = make(tmp_path / "track.wav", source=NOISE + "1")

    def meanwhile(source: Path, *rest: object) -> object:
        with track.open("ab") as growing:
            growing.write(bytes(2))
        return analyse(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(conversion, "analyse", meanwhile)
    assert "it changes while it is read" in refusal(track, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


# -- progress ------------------------------------------------------------------------------------------------------


def test_progress_is_reported_from_0_to_1(tmp_path: Path) -> None:
    shares: list[float] = []
    music.prepare(settings(make(tmp_path / "track.wav", source=NOISE + "5"), tmp_path / "cache"), shares.append)
    assert shares == sorted(shares)
    assert shares[0] >= 0 and shares[-1] == 1.0
