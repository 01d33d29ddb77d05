"""End to end: what the doctor says of a file of music, and of the music that a running server plays."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import pytest

from moh.common.config import Settings
from moh.doctor.finding import Finding
from moh.doctor.music import NO_MUSIC, converted_music, file_findings, music_of_state, refused
from moh.doctor.texts import words
from moh.server.music_watch import TROUBLE
from moh.server.now_playing import UNDECIDED


def tone(path: Path, seconds: float = 1.5, level: int = 8000) -> Path:
    """Write a tone of about 440 Hz as a WAV file; with ``level`` 0 silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(
            b"".join(struct.pack("<h", level if n % 18 < 9 else -level) for n in range(int(8000 * seconds)))
        )
    return path


def settings_of(path: Path) -> Settings:
    return Settings.from_environment({"MOH_MUSIC": str(path)})


def what(found: Finding) -> str:
    return words(found, "en").what


def test_a_good_file_is_no_finding_and_converts(tmp_path: Path) -> None:
    settings = settings_of(tone(tmp_path / "tone.wav"))
    assert not list(file_findings(settings))
    (only,) = converted_music(settings)
    assert what(only).startswith(f"Callers hear {tmp_path}/tone.wav (0:0")


def test_silence(tmp_path: Path) -> None:
    (only,) = converted_music(settings_of(tone(tmp_path / "silence.wav", level=0)))
    assert what(only) == f"The music {tmp_path}/silence.wav is almost silent on a telephone."


def test_half_a_file_is_found_without_reading_it_and_by_the_conversion(tmp_path: Path) -> None:
    path = tone(tmp_path / "half.wav", 4.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    settings = settings_of(path)
    (by_header,) = file_findings(settings)
    assert what(by_header) == f"The end of the music {path} is missing: 50 %."
    assert [each.id for each in converted_music(settings)] == ["music-plays", "music-truncated"]


def test_a_file_that_is_missing_or_no_music(tmp_path: Path) -> None:
    (missing,) = file_findings(settings_of(tmp_path / "none.mp3"))
    assert what(missing) == f"There is no music at {tmp_path}/none.mp3."
    (tmp_path / "text.mp3").write_text("no music")
    (text,) = file_findings(settings_of(tmp_path / "text.mp3"))
    assert what(text) == f"The music {tmp_path}/text.mp3 cannot be played: it is a text; expected an audio file."


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (
            "Cannot play '/m.mp3': the server (user 7) may not read the file (mode 600). Run: chmod a+r",
            "music-unreadable",
        ),
        ("Cannot play '/m.mp3': the server (user 7) may not enter a folder of its path.", "music-unreadable"),
        ("Cannot write the converted music: 9 MB are needed, 1 MB are free in '/c'; expected room", "disk-full"),
        ("MOH_CACHE is '/c': not writable; expected a folder to write to", "cache-unusable"),
        ("ffmpeg does not run: No such file or directory; expected it on the PATH", "ffmpeg-missing"),
        ("Cannot play '/m.mp3': ffmpeg reads it as 'x', which is not played", "music-refused"),
    ],
)
def test_an_error_of_the_preparation_is_named_by_its_kind(error: str, name: str) -> None:
    found = refused(settings_of(Path("/m.mp3")), error, 7)
    assert found.id == name
    assert "{" not in " ".join(words(found, "en"))


def state(**parts: Any) -> dict[str, Any]:
    music = {"name": "m.mp3", "builtin": False, "seconds": 183.2, "loudness": -24.0, "summary": "m.mp3: as loud"}
    return {"trouble": "", "music": {**music, **parts.pop("music", {})}, **parts}


def from_state(**parts: Any) -> list[Finding]:
    return list(music_of_state(settings_of(Path("/m.mp3")), state(**parts), 7))


def test_music_that_plays() -> None:
    (only,) = from_state()
    assert what(only) == "Callers hear m.mp3 (3:03, -24 LUFS)."


def test_with_a_folder_the_music_is_the_default() -> None:
    (only,) = from_state(names={"count": 1})
    assert what(only) == "Callers hear m.mp3 (3:03, -24 LUFS), unless they dial a name of the music folder."


@pytest.mark.parametrize(("count", "expected"), [(0, ["default-plays"]), (1, ["folder-trouble", "default-plays"])])
def test_an_empty_folder_is_no_file_that_cannot_be_played(count: int, expected: list[str]) -> None:
    trouble = "Cannot play '/music': a folder without music; expected files such as jazz.mp3 in it"
    found = from_state(names={"count": count, "folder": "/music"}, music={"builtin": True}, trouble=trouble)
    assert [each.id for each in found] == expected, "name_findings says that a folder is empty"


def test_a_radio_has_no_length() -> None:
    (only,) = from_state(names={"count": 1}, music={"name": "news", "live": True, "seconds": 120.0, "loudness": None})
    assert what(only) == "Callers hear news (radio), unless they dial a name of the music folder."


def test_music_of_which_the_end_is_missing() -> None:
    plays, truncated = from_state(
        music={"summary": "m.mp3: as loud, the file breaks off after 9 of 20 s, its end fades"}
    )
    assert plays.id == "music-plays"
    assert what(truncated) == "The end of the music m.mp3 is missing: the file breaks off after 9 of 20 s."


def test_the_built_in_piece_is_a_note_unless_it_stands_in() -> None:
    assert [each.id for each in from_state(music={"builtin": True})] == ["music-plays", "music-builtin"]
    waits = from_state(music={"builtin": True}, trouble=UNDECIDED)
    assert [each.id for each in waits] == ["music-waits", "music-plays"]
    trouble = "Cannot play '/m.mp3': the server (user 7) may not read the file (mode 600). Run: chmod a+r '/m.mp3'"
    unreadable, _ = from_state(music={"builtin": True}, trouble=trouble)
    assert what(unreadable) == "The server (user 7) may not read the music /m.mp3."


def test_a_server_whose_engines_send_nothing() -> None:
    assert NO_MUSIC == TROUBLE
    silent, _ = from_state(trouble=f"{TROUBLE}ffmpeg does not start: No such file or directory")
    assert what(silent) == (
        "The server answers calls, but no music leaves it: ffmpeg does not start: No such file or directory."
    )
