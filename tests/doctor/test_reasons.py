"""Japanese reasons: the doctor says the same as the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.doctor import reasons
from moh.doctor.finding import finding
from moh.doctor.reasons import in_japanese
from moh.doctor.texts import words
from moh.library.store import LAST_FREE, Store

TEXT = "it is a text; expected an audio file"


def test_reason_of_a_refused_name_is_japanese() -> None:
    found = finding("name-refused", name="jazz", reason=TEXT)
    assert words(found, "ja").what == "名前 jazz の音楽は再生できません（音声ではなくテキストです）。"
    assert words(found, "en").what == f"The name jazz cannot be played: {TEXT}."


def test_note_is_japanese_and_keeps_its_names() -> None:
    said = in_japanese("not-played", "text", "a.wav is not played: a.mp3 has the same name")
    assert said == "a.wav は流しません。a.mp3 と同じ名前です"


def test_text_without_a_translation_stays_as_it_is() -> None:
    assert in_japanese("radio-away", "reason", "a new kind of fault") == "a new kind of fault"


def test_values_of_other_findings_stay_as_they_are() -> None:
    assert in_japanese("refused", "reason", TEXT) == TEXT
    assert in_japanese("name-refused", "name", TEXT) == TEXT


def test_without_the_texts_of_the_page_the_reason_is_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "TEXTS_OF_PAGE", reasons.TEXTS_OF_PAGE / "missing")
    monkeypatch.setattr(reasons, "_patterns", reasons._patterns.__wrapped__)
    assert in_japanese("name-refused", "reason", TEXT) == TEXT


def test_reason_of_a_full_cache_and_of_a_full_disk_is_japanese(tmp_path: Path) -> None:
    """The texts are those of the library, word by word."""
    store = Store(tmp_path, 10 << 20)
    store.free = LAST_FREE + (1 << 30)
    over = in_japanese("name-full", "reason", store.missing(11 << 20)[1])
    assert over == "あと 11 MB が MOH_CACHE_LIMIT に収まりません（10 MB のうち 0 MB を使用中）"
    store.free = LAST_FREE
    assert (
        in_japanese("name-full", "reason", store.missing(1)[1])
        == "ディスクがいっぱいです（空き 105 MB。100 MB は残します）"
    )
