"""The owner's file made ready for the telephone, by real ffmpeg."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Union

import pytest

from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.mastering.cache import cache_folder
from moh.mastering.filter_graphs import Heard, fold_command, listen_command
from moh.mastering.prepare import BUILTIN, Music, find_source, prepare
from tests.support.running import ROOT


def make(path: Path, *options: str, source: str = "sine=frequency=440:sample_rate=44100:duration=0.5") -> Path:
    """Let ffmpeg make a file; its name tells the kind."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source, *options, f"file:{path}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def settings(music: object = "", cache: object = "", **others: str) -> Settings:
    return Settings.from_environment({"MOH_MUSIC": str(music), "MOH_CACHE": str(cache), **others})


def prepared(music: Path) -> Music:
    """Prepare the file, with a cache folder beside it."""
    return prepare(settings(music, music.parent / "cache"))


def refusal(music: object, cache: object) -> str:
    """The one line that the owner reads."""
    with pytest.raises(SettingsError) as caught:
        prepare(settings(music, cache))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- what is music -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "flac", "m4a"])
def test_whatever_ffmpeg_reads_becomes_mono_pcm_at_8_and_16_khz(tmp_path: Path, kind: str) -> None:
    stereo = make(tmp_path / f"tone.{kind}", "-ac", "2")
    music = prepared(stereo)
    assert sorted(music.paths) == [8000, 16000]
    for rate, path in music.paths.items():
        with wave.open(str(path), "rb") as sound:
            assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, rate)
            samples = array("h", sound.readframes(sound.getnframes()))
        assert max(samples) > 1000, "the tone is heard"
    assert music.seconds == pytest.approx(0.5, abs=0.1)  # coders pad to their frames
    assert music.took > 0
    assert music.source == stereo


def test_both_channels_are_heard(tmp_path: Path) -> None:
    """The tone is on the right only; half of it is in the mix."""
    right_only = make(tmp_path / "right.wav", "-af", "pan=stereo|c0=0*c0|c1=c0")
    with wave.open(str(prepared(right_only).paths[8000]), "rb") as sound:
        assert max(array("h", sound.readframes(sound.getnframes()))) > 500


def test_a_picture_in_the_file_does_no_harm(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mkv", "-f", "lavfi", "-i", "testsrc=duration=0.5:size=64x64")
    assert prepared(clip).seconds == pytest.approx(0.5, abs=0.1)


NAMES = [
    "-y.wav", "two words.wav", "it's.wav", 'a "quote".wav', "100%d.wav", "%03d.wav", "C:drive.wav", "http:x.wav",
    "müsic 音楽.wav", "[brackets],;=.wav", "back\\slash.wav", "~.wav", "$(id).wav", "new\nline.wav", "wav",
]  # fmt: skip


def test_any_name_will_do_and_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    tone = make(tmp_path / "tone.wav")
    for name in NAMES:
        (tmp_path / name).write_bytes(tone.read_bytes())
    with ThreadPoolExecutor(4) as threads:
        for music in threads.map(lambda name: prepared(tmp_path / name), NAMES):
            assert music.seconds == pytest.approx(0.5, abs=0.01)
            assert "\n" not in music.describe()
    assert len(list((tmp_path / "cache").iterdir())) == 3 * len(NAMES)


# -- what is not ---------------------------------------------------------------------------------------------------


def test_a_text_is_no_music(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp3"
    text.write_text("do re mi\n" * 1000)
    assert refusal(text, tmp_path / "cache").startswith(f"Music is {str(text)!r}: no audio that ffmpeg can read (")


def test_an_empty_file_is_no_music(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    assert refusal(tmp_path / "empty.mp3", tmp_path / "cache").endswith(
        "empty.mp3', an empty file; expected an audio file"
    )


def test_a_missing_file_is_no_music(tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp3"
    assert refusal(missing, tmp_path) == f"Music is {str(missing)!r}: No such file or directory; expected an audio file"


def test_a_folder_is_no_music(tmp_path: Path) -> None:
    assert refusal(tmp_path, tmp_path).startswith(f"Music is {str(tmp_path)!r}, a folder; expected an audio file")


def test_a_pipe_is_no_music_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a device or pipe" in refusal(tmp_path / "pipe", tmp_path / "cache")


def test_a_silent_film_is_no_music(tmp_path: Path) -> None:
    film = make(tmp_path / "film.mkv", source="testsrc=duration=0.2:size=64x64")
    said = refusal(film, tmp_path / "cache")
    assert str(film) in said
    assert "matches no streams" in said


def test_a_blink_is_no_music(tmp_path: Path) -> None:
    blink = make(tmp_path / "blink.wav", source="sine=sample_rate=8000:duration=0.05")
    assert "0.05 s of sound; expected at least 0.1 s" in refusal(blink, tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "why"), [("~nobody-of-that-name/x.mp3", "no such home folder"), ("\udcff.mp3", "a name in UTF-8")]
)
def test_a_name_that_means_no_path_is_no_music(tmp_path: Path, name: str, why: str) -> None:
    said = refusal(name, tmp_path)
    assert said.startswith(f"MOH_MUSIC is {name!r}")
    assert why in said


def test_what_is_no_music_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").write_bytes(b"nothing")
    refusal(tmp_path / "empty.mp3", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_ffmpeg_the_owner_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone = make(tmp_path / "tone.wav")
    monkeypatch.setenv("PATH", "")
    assert refusal(tone, tmp_path / "cache").startswith("ffmpeg does not run: No such file or directory;")


# -- the cache -----------------------------------------------------------------------------------------------------


def test_the_second_time_it_is_found_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone = make(tmp_path / "tone.wav")
    first = prepared(tone)
    monkeypatch.setenv("PATH", "")  # no ffmpeg, no conversion
    second = prepared(tone)
    assert (second.paths, second.seconds, second.took) == (first.paths, first.seconds, 0)


def test_a_changed_file_is_converted_again(tmp_path: Path) -> None:
    tone = tmp_path / "tone.wav"
    before = prepared(make(tone))
    after = prepared(make(tone, "-y", source="sine=sample_rate=44100:duration=0.7"))
    assert (before.seconds, after.seconds) == pytest.approx((0.5, 0.7), abs=0.01)
    assert after.took > 0


@pytest.mark.parametrize("spoilt", [(8000, b""), (16000, b"RIFF"), (16000, 100), (0, b"{"), (0, b"[]")])
def test_a_spoilt_cache_is_made_anew(tmp_path: Path, spoilt: tuple[int, Union[bytes, int]]) -> None:
    """As after a power cut: the name is there, the sound is not."""
    tone = make(tmp_path / "tone.wav")
    paths = prepared(tone).paths
    rate, content = spoilt
    (slip,) = (tmp_path / "cache").glob("*.json")
    path = paths.get(rate, slip)
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
    again = prepared(tone)
    assert again.paths == paths
    assert again.took > 0
    assert again.seconds == pytest.approx(0.5, abs=0.01)


def test_a_missing_cache_folder_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b c:%d"
    music = prepare(settings(make(tmp_path / "tone.wav"), folder))
    assert sorted(path for path in folder.iterdir() if path.suffix == ".wav") == sorted(music.paths.values())


def test_a_cache_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file"
    assert refusal(BUILTIN, cache) == f"MOH_CACHE is {str(cache)!r}: File exists; expected a folder"


def test_a_cache_that_is_read_only_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # whoever runs this test may be root, who writes everywhere
    assert "not writable; expected a folder to write to" in refusal(BUILTIN, tmp_path)


def test_the_cache_is_where_users_have_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(settings()) == tmp_path / "moh"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder(settings()) == tmp_path / "home" / ".cache" / "moh"


def test_without_a_usable_home_the_cache_is_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder(settings())
    assert folder.is_dir()
    assert folder.name == f"moh-{os.getuid()}"
    assert cache_folder(settings()) == folder
    folder.chmod(0o777)
    assert cache_folder(settings()) != folder, "others could put music of theirs there"


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
def test_the_length_is_told_in_minutes_and_seconds(seconds: float, text: str) -> None:
    assert Music({}, seconds, Path("/x.mp3")).describe() == text


def test_the_commands_never_ask_and_are_told_files() -> None:
    heard = Heard((0.5, 0.5), -20.0, -3.0, -3.0, 60.0, None, soxr=True)
    command = fold_command(Path("/music/-y.mp3"), Path("/cache/-x.s16"), heard, 0.0)
    assert "-nostdin" in command
    assert "-y" in command
    assert command[command.index("-i") + 1] == "file:/music/-y.mp3"
    assert "file:/cache/-x.s16" in command
    assert "soxr" in " ".join(command)
    assert "soxr" not in " ".join(fold_command(Path("a"), Path("b"), replace(heard, soxr=False), 0.0))
    assert "pan" in " ".join(listen_command(Path("a"), 12))


# -- by itself -----------------------------------------------------------------------------------------------------


def run(music: object, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MOH_MUSIC": str(music), "MOH_CACHE": str(cache)}
    command = [sys.executable, "-m", "moh.mastering.prepare"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_by_itself_it_says_one_line(tmp_path: Path) -> None:
    tone = make(tmp_path / "tone.wav", source="sine=sample_rate=8000:duration=1")
    first, second = run(tone, tmp_path / "cache"), run(tone, tmp_path / "cache")
    assert first.stdout.startswith("Music: tone.wav (1 s), converted in ")
    assert first.stdout.count("\n") == 1
    assert second.stdout.startswith("Music: tone.wav (1 s), converted before: -")
    assert first.stdout.partition(": -")[2] == second.stdout.partition(": -")[2]
    assert "LUFS made -24.0, peak " in second.stdout
    assert (first.returncode, second.returncode, first.stderr, second.stderr) == (0, 0, "", "")


def test_by_itself_it_says_one_line_of_what_is_wrong(tmp_path: Path) -> None:
    ran = run(tmp_path / "missing.mp3", tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Music is ")
    assert ran.stderr.count("\n") == 1
