"""End to end, by real ffmpeg: files that are music and files that are not, the cache, and the program ``prepare``."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Union

import pytest

from moh.common.errors import SettingsError
from moh.mastering import prepare as music
from moh.mastering.conversion import Converted, convert
from moh.mastering.form import Form
from moh.mastering.prepare import BUILTIN, Music, find_source, prepare_file
from tests.mastering.tracks import NOISE, make, prepared, refusal, samples_of, settings
from tests.support.running import ROOT

# -- files that are music ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "flac", "m4a"])
def test_whatever_ffmpeg_reads_becomes_mono_pcm_at_8_and_16_khz(tmp_path: Path, kind: str) -> None:
    stereo = make(tmp_path / f"tone.{kind}", "-ac", "2")
    music = prepared(stereo)
    assert sorted(music.paths) == [8000, 16000]
    for rate, path in music.paths.items():
        with wave.open(str(path), "rb") as sound:
            assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, rate)
        assert max(samples_of(path)) > 1000, "the tone is in it"
    assert music.seconds == pytest.approx(0.5, abs=0.1)  # coders pad to their frames
    assert music.took > 0
    assert music.source == stereo


def test_both_channels_are_in_the_mix(tmp_path: Path) -> None:
    """The tone is only in the right channel. The mix has it at half the level."""
    right_only = make(tmp_path / "right.wav", "-af", "pan=stereo|c0=0*c0|c1=c0")
    assert max(samples_of(prepared(right_only).paths[8000])) > 500


def test_a_picture_in_the_file_does_no_harm(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mkv", "-f", "lavfi", "-i", "testsrc=duration=0.5:size=64x64")
    assert prepared(clip).seconds == pytest.approx(0.5, abs=0.1)


NAMES = [
    "-y.wav", "two words.wav", "it's.wav", 'a "quote".wav', "100%d.wav", "%03d.wav", "C:drive.wav", "http:x.wav",
    "müsic 音楽.wav", "[brackets],;=.wav", "back\\slash.wav", "~.wav", "$(id).wav", "new\nline.wav", "wav",
]  # fmt: skip


def test_any_file_name_will_do_and_threads_convert_at_once(tmp_path: Path) -> None:
    tone = make(tmp_path / "tone.wav")
    for name in NAMES:
        (tmp_path / name).write_bytes(tone.read_bytes())
    with ThreadPoolExecutor(4) as threads:
        for music in threads.map(lambda name: prepared(tmp_path / name), NAMES):
            assert music.seconds == pytest.approx(0.5, abs=0.01)
            assert "\n" not in music.describe()
    assert len(list((tmp_path / "cache").iterdir())) == len(NAMES)


# -- files that are no music ---------------------------------------------------------------------------------------


def test_an_empty_file_is_no_music(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    assert refusal(tmp_path / "empty.mp3", tmp_path / "cache").endswith(
        "empty.mp3': it is an empty file; expected an audio file"
    )


def test_a_missing_file_is_no_music(tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp3"
    assert (
        refusal(missing, tmp_path) == f"Cannot play {str(missing)!r}: No such file or directory; expected an audio file"
    )


@pytest.mark.parametrize("form", Form)
def test_a_folder_is_no_music(tmp_path: Path, form: Form) -> None:
    """``find_source`` names none: a folder in ``MOH_MUSIC`` is a music folder."""
    with pytest.raises(SettingsError, match="it is a folder; expected an audio file"):
        prepare_file(tmp_path, settings(cache=tmp_path / "cache"), form)


def test_a_pipe_is_no_music_and_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a device or pipe" in refusal(tmp_path / "pipe", tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "why"), [("~nobody-of-that-name/x.mp3", "no such home folder"), ("\udcff.mp3", "a name in UTF-8")]
)
def test_a_name_that_means_no_path_is_no_music(tmp_path: Path, name: str, why: str) -> None:
    said = refusal(name, tmp_path)
    assert said.startswith(f"MOH_MUSIC is {name!r}")
    assert why in said


def test_what_is_no_music_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    (tmp_path / "noise.mp3").write_bytes(b"\xff" * 5000)
    refusal(tmp_path / "noise.mp3", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_ffmpeg_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone = make(tmp_path / "tone.wav")
    monkeypatch.setenv("PATH", "")
    assert refusal(tone, tmp_path / "cache").startswith("ffmpeg does not run: No such file or directory;")


# -- the cache -----------------------------------------------------------------------------------------------------


def test_the_second_time_the_music_is_found_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone = make(tmp_path / "tone.wav")
    first = prepared(tone)
    monkeypatch.setenv("PATH", "")  # without ffmpeg there is no conversion
    second = prepared(tone)
    assert (second.paths, second.seconds, second.took) == (first.paths, first.seconds, 0)


def test_a_changed_file_is_converted_again(tmp_path: Path) -> None:
    tone = tmp_path / "tone.wav"
    before = prepared(make(tone))
    after = prepared(make(tone, "-y", source="sine=sample_rate=44100:duration=0.7"))
    assert (before.seconds, after.seconds) == pytest.approx((0.5, 0.7), abs=0.01)
    assert after.took > 0


def replace_in_place(track: Path, content: bytes) -> None:
    """Give the file other content of equal size, and its former time."""
    facts = track.stat()
    with track.open("r+b") as file:
        file.write(content)
    os.utime(track, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def replace_by_copy(track: Path, content: bytes) -> None:
    """As ``cp -p`` and ``mv`` do."""
    facts = track.stat()
    track.with_name("new").write_bytes(content)
    os.utime(track.with_name("new"), ns=(facts.st_atime_ns, facts.st_mtime_ns))
    track.with_name("new").rename(track)


def replace_by_link(track: Path, content: bytes) -> None:
    """Switch a symbolic link to another file of equal size and time."""
    replace_by_copy(track, content)
    track.rename(track.with_name("second"))
    track.symlink_to("second")


@pytest.mark.parametrize("replace", [replace_in_place, replace_by_copy, replace_by_link])
def test_other_content_of_equal_path_size_and_time_is_converted(
    tmp_path: Path, replace: Callable[[Path, bytes], None]
) -> None:
    tone = make(tmp_path / "tone.wav")
    other = make(tmp_path / "other.wav", source="sine=frequency=1000:sample_rate=44100:duration=0.5").read_bytes()
    assert len(other) == tone.stat().st_size
    before = samples_of(prepared(tone).paths[8000])
    mtime = tone.stat().st_mtime_ns
    replace(tone, other)
    assert tone.stat().st_mtime_ns == mtime
    after = prepared(tone)
    assert after.took > 0
    assert samples_of(after.paths[8000]) != before


def test_the_same_content_is_converted_once_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    tone = make(tmp_path / "tone.wav")
    prepared(tone)
    tone.chmod(0o600)
    os.utime(tone, (1, 1))
    tone.with_name("new").write_bytes(tone.read_bytes())
    tone.with_name("new").rename(tone)
    assert prepared(tone).took == 0


def test_a_file_that_is_touched_while_it_is_converted_is_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone = make(tmp_path / "tone.wav")
    calls: list[int] = []

    def touching(*arguments: Any) -> Converted:
        calls.append(1)
        os.utime(tone, ns=(len(calls), len(calls)))
        return convert(*arguments)

    monkeypatch.setattr(music, "convert", touching)
    assert prepared(tone).took > 0
    assert len(calls) == 1


def test_a_file_that_gets_other_content_while_it_is_converted_is_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone = make(tmp_path / "tone.wav")
    longer = make(tmp_path / "longer.wav", source="sine=duration=0.8").read_bytes()
    calls: list[int] = []

    def replacing(*arguments: Any) -> Converted:
        calls.append(1)
        converted = convert(*arguments)
        tone.write_bytes(longer)
        return converted

    monkeypatch.setattr(music, "convert", replacing)
    monkeypatch.setattr(music, "ATTEMPTS_APART", 0.0)
    assert prepared(tone).seconds == pytest.approx(0.8, abs=0.05)
    assert len(calls) == 2
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("spoilt", [(8000, b""), (16000, b"RIFF"), (16000, 100), (0, b""), (0, b"\xff")])
def test_a_spoilt_entry_is_made_anew(tmp_path: Path, spoilt: tuple[int, Union[bytes, int]]) -> None:
    """After a power cut, a file may have its name but not its content."""
    tone = make(tmp_path / "tone.wav")
    paths = prepared(tone).paths
    rate, content = spoilt
    (report,) = (tmp_path / "cache").rglob("report.txt")
    path = paths.get(rate, report)
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
    again = prepared(tone)
    assert again.paths == paths
    assert again.took > 0
    assert again.seconds == pytest.approx(0.5, abs=0.01)


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Full)
    said = refusal(make(tmp_path / "track.wav", source=NOISE + "12"), tmp_path / "cache")
    assert said.startswith("Cannot write the converted music: 1 MB are needed, 0 MB are free in ")


def test_music_that_is_played_stays_in_the_cache_when_the_file_changes(tmp_path: Path) -> None:
    track = make(tmp_path / "track.wav", source=NOISE + "1")
    playing = prepared(track)
    make(track, "-y", source=NOISE + "1.5")
    prepared(track)
    assert all(path.exists() for path in playing.paths.values())


# -- which file ----------------------------------------------------------------------------------------------------


def test_music_mp3_where_the_server_was_started_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/music.mp3").exists():
        pytest.skip("this machine has a /music.mp3, which goes first")
    monkeypatch.chdir(tmp_path)
    assert find_source(settings()) == BUILTIN
    (tmp_path / "music.mp3").touch()
    assert find_source(settings()) == tmp_path / "music.mp3"


def test_a_file_named_in_the_settings_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "music.mp3").touch()
    assert find_source(settings("other.ogg")) == tmp_path / "other.ogg"


@pytest.mark.parametrize(
    ("seconds", "text"), [(48.0, "x.mp3 (48 s)"), (192.4, "x.mp3 (3 min 12 s)"), (59.7, "x.mp3 (1 min 0 s)")]
)
def test_the_length_is_described_in_minutes_and_seconds(seconds: float, text: str) -> None:
    assert Music({}, seconds, Path("/x.mp3")).describe() == text


# -- the program ---------------------------------------------------------------------------------------------------


def run(music: object, cache: Path) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
    environment = {**others, "MOH_MUSIC": str(music), "MOH_CACHE": str(cache)}
    command = [sys.executable, "-m", "moh.mastering.prepare"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_the_program_prints_one_line(tmp_path: Path) -> None:
    tone = make(tmp_path / "tone.wav", source="sine=sample_rate=8000:duration=1")
    first, second = run(tone, tmp_path / "cache"), run(tone, tmp_path / "cache")
    assert first.stdout.startswith("Music: tone.wav (1 s), converted in ")
    assert first.stdout.count("\n") == 1
    assert second.stdout.startswith("Music: tone.wav (1 s), converted before: made ")
    assert first.stdout.partition(": made ")[2] == second.stdout.partition(": made ")[2]
    assert (first.returncode, second.returncode, first.stderr, second.stderr) == (0, 0, "", "")


def test_the_program_prints_one_line_of_what_is_wrong(tmp_path: Path) -> None:
    ran = run(tmp_path / "missing.mp3", tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Cannot play ")
    assert ran.stderr.count("\n") == 1


def test_music_that_comes_converted_with_the_image_is_not_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone = make(tmp_path / "tone.wav")
    shipped = music.prepare(settings(tone, tmp_path / "shipped"))
    monkeypatch.setattr(music, "SHIPPED", tmp_path / "shipped")
    found = music.prepare(settings(tone, tmp_path / "cache"))
    assert (found.took, found.paths, found.report) == (0.0, shipped.paths, shipped.report)
    assert list((tmp_path / "cache").iterdir()) == []
    other = music.prepare(settings(tone, tmp_path / "cache", MOH_LOUDNESS="off"))
    assert other.took > 0, "it was converted with another loudness"
