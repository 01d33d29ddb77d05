"""What the doctor finds in a music folder, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.common.config import Settings
from moh.doctor.finding import Finding
from moh.doctor.folder import default_findings, folder_findings
from moh.doctor.names import MOST_ALONE
from moh.doctor.texts import level, words
from tests.doctor.test_music import tone


def settings_of(folder: Path) -> Settings:
    return Settings.from_environment({"MOH_MUSIC": str(folder)})


def found(folder: Path) -> list[Finding]:
    return list(folder_findings(settings_of(folder)))


def sentences(findings: list[Finding]) -> list[str]:
    return [words(each, "en").what for each in findings]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    assert not found(tone(tmp_path / "tone.wav"))


def test_a_folder_with_all_that_may_be_in_it(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    for name in ("jazz.wav", "shop/1.wav", "shop/2.wav", "shop/announce.wav"):
        tone(tmp_path / name)
    (tmp_path / "news.url").write_text("http://radio.example/stream\n")
    (tmp_path / "notes.txt").write_text("not music, and not named")
    assert sentences(found(tmp_path)) == [f"Names in the folder {tmp_path}: 3 (jazz, news, shop)."]


def test_a_folder_without_music(tmp_path: Path) -> None:
    (only,) = found(tmp_path)
    assert (only.id, level(only)) == ("folder-empty", "error")


def test_files_and_radios_that_cannot_be_played_are_named(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    tone(tmp_path / "shop" / "1.wav")
    (tmp_path / "shop" / "2.mp3").write_text("no music")
    (tmp_path / "text.mp3").write_text("no music")
    (tmp_path / "empty.url").write_text("\n")
    (tmp_path / "list.m3u").write_text("/etc/passwd\n")
    findings = found(tmp_path)
    assert sentences(findings)[1:] == [
        "The name empty cannot be played: empty.url: there is no address in it; expected an address as "
        "http://radio.example/stream.",
        "The name list cannot be played: list.m3u: '/etc/passwd' is the name of a file; a list may name addresses of "
        "radios only: expected an address as http://radio.example/stream.",
        "The name text cannot be played: text.mp3: it is a text; expected an audio file.",
        "In the folder: shop/2.mp3: it is a text; expected an audio file.",
    ]


def test_an_announcement_that_cannot_be_played_is_named_once(tmp_path: Path) -> None:
    for name in ("jazz.wav", "news.wav"):
        tone(tmp_path / name)
    (tmp_path / "announce.mp3").write_text("no music")
    assert sentences(found(tmp_path))[1:] == ["In the folder: announce.mp3: it is a text; expected an audio file."]


def test_of_many_files_that_cannot_be_played_the_first_are_named(tmp_path: Path) -> None:
    tone(tmp_path / "jazz.wav")
    for number in range(MOST_ALONE + 3):
        (tmp_path / f"n{number}.mp3").write_text("no music")
    findings = found(tmp_path)
    assert [each.id for each in findings] == ["folder", *["name-refused"] * MOST_ALONE, "names-more"]
    assert sentences(findings)[-1] == "More names that do not play: 3 (n5, n6, n7)."


def test_nine_radios_are_one_too_many(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"r{number}.url").write_text(f"http://radio.example/{number}\n")
    (_, refused) = found(tmp_path)
    assert words(refused, "en").what == (
        "The name r8 cannot be played: r8.url: there are 8 radios before it; no more are connected."
    )


@pytest.mark.parametrize(
    ("files", "alone"),
    [
        (["announce.wav", "shop/1.wav"], True), (["announce.wav", "jazz.wav"], False),
        (["shop/announce.wav", "shop/1.wav"], False),
    ],
)  # fmt: skip
def test_an_announcement_needs_a_piece_beside_it(tmp_path: Path, files: list[str], alone: bool) -> None:
    (tmp_path / "shop").mkdir()
    for name in files:
        tone(tmp_path / name)
    (tmp_path / "announce.txt").write_text("what is said")
    assert ("announce-alone" in [each.id for each in found(tmp_path)]) is alone


def test_names_that_differ_in_capitals_and_files_that_are_not_played(tmp_path: Path) -> None:
    for name in ("Jazz.wav", "jazz.wav", "jazz.mp3"):
        tone(tmp_path / name)
    findings = found(tmp_path)
    assert [each.id for each in findings] == ["folder", "names-alike", "not-played"]
    assert "jazz.wav is not played: jazz.mp3 has the same name" in sentences(findings)[-1]


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("moh.library.scan.os.scandir", refuse)
    (only,) = found(tmp_path)
    assert (only.id, level(only)) == ("folder-trouble", "error")
    assert "may not read the folder" in words(only, "en").what


def test_the_default_is_converted_if_it_is_one_piece(tmp_path: Path) -> None:
    assert not list(default_findings(settings_of(tmp_path)))
    tone(tmp_path / "jazz.wav")
    assert [each.id for each in default_findings(settings_of(tmp_path))] == ["default-plays"]
    (tmp_path / "default").mkdir()
    tone(tmp_path / "default" / "1.wav")
    assert not list(default_findings(settings_of(tmp_path)))
