"""The words of the findings: both languages say the same, and the page lists each finding."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from moh.doctor.finding import BUILTIN_PIECE, LEVELS, finding
from moh.doctor.texts import TEXTS, as_data, level, sentence, words
from tests.support.running import ROOT

IDS = pytest.mark.parametrize("name", TEXTS)
PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@IDS
def test_both_languages_name_the_same_values(name: str) -> None:
    text = TEXTS[name]
    english, japanese = (placeholders(" ".join(each)) for each in (text.en, text.ja))
    assert english == japanese


@IDS
def test_whatever_is_not_well_says_why_it_matters_and_what_to_do(name: str) -> None:
    text = TEXTS[name]
    assert text.level in LEVELS
    for each in (text.en, text.ja):
        assert bool(each.why and each.do) is (text.level != "ok"), each


@IDS
def test_the_japanese_is_japanese_and_ends_its_sentences(name: str) -> None:
    for part in filter(None, TEXTS[name].ja):
        assert JAPANESE.search(part)
        assert part.endswith(("。", "}")) or "。" in part or "実行" in part or "check" in part, part
        assert not re.search(r"[(),;] ?(?=[\u3040-\u9fff])", part), f"half-width marks in {part!r}"


def test_the_page_lists_each_finding_with_its_level() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", PAGE, re.MULTILINE)
    assert rows == [(name, text.level) for name, text in TEXTS.items()]


def test_a_finding_is_data_in_both_languages() -> None:
    found = as_data(finding("port-taken", port=5060, transport="UDP", setting="MOH_SIP_PORT", program="asterisk (7)"))
    assert (found["id"], found["level"]) == ("port-taken", "error")
    assert found["en"]["what"] == "Another program has the port 5060 (UDP): asterisk (7)."
    assert found["ja"]["what"] == "ポート 5060（UDP）は、ほかのプログラムが使っています：asterisk (7)"
    assert found["en"]["do"] == "Stop that program, or set MOH_SIP_PORT to another port."


@pytest.mark.parametrize(
    ("length", "japanese"), [("2 h 5 min", "2 時間 5 分"), ("21 s", "21 秒"), ("3 d 1 h", "3 日 1 時間")]
)
def test_lengths_of_time_have_japanese_units(length: str, japanese: str) -> None:
    found = finding("server-runs", version="1.0", since=length, pid=7)
    assert f"起動から {japanese}、" in words(found, "ja").what
    assert f"for {length} (" in words(found, "en").what


def test_a_line_of_the_log_says_what_is_wrong_and_what_to_do() -> None:
    line = sentence(finding("address-loopback", address="127.0.0.1"))
    assert line == (
        "Callers are told the address 127.0.0.1, which for each phone means the phone itself. Set "
        "MOH_ADVERTISED_ADDRESS to an address of this machine that phones reach, or leave it empty."
    )


def test_text_of_a_phone_moves_no_cursor_and_fills_no_placeholder() -> None:
    found = finding("refused", source="\x1b[2J\r\n{text}", count=1, ago="1 s", text="\u202e{port}", reason="INVITE 400")
    what, why, _ = words(found, "en")
    assert "?[2J {text}" in what and "?{port}" in why
    assert what.isprintable() and why.isprintable()


def test_the_built_in_piece_has_its_name_in_both_languages() -> None:
    found = finding("music-plays", name=BUILTIN_PIECE, details="0:48")
    assert words(found, "en").what == "Callers hear the built-in piece (0:48)."
    assert words(found, "ja").what == "保留中の相手に内蔵の曲が流れます（0:48）。"


def test_a_finding_may_have_another_level_than_usual() -> None:
    assert level(finding("refused-codec")) == "error"
    assert level(finding("refused-codec", "note")) == "note"
