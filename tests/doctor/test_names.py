"""What the doctor reads in the state about music by name."""

from __future__ import annotations

from typing import Any

from moh.doctor.finding import Finding
from moh.doctor.names import MOST_ALONE, MOST_NAMED, name_findings
from moh.doctor.texts import level, words
from tests.http.names_state import NOW, names_state, radio, row


def found(**names: Any) -> list[Finding]:
    return list(name_findings({"now": NOW, "names": names_state(**names)}))


def sentences(findings: list[Finding], id_: str) -> list[str]:
    return [words(each, "en").what for each in findings if each.id == id_]


def test_without_a_folder_there_is_no_finding() -> None:
    for state in ({}, {"names": None}):
        assert not list(name_findings({"now": NOW, **state}))


def test_the_names_that_play_and_those_that_wait() -> None:
    findings = found(more=30)
    assert sentences(findings, "names") == ["Names in the folder /music: 37. Ready: 4 (jazz, news, default, 受付 1)."]
    assert sentences(findings, "radio-plays") == ["The radio news plays: News at ten."]
    (waits,) = sentences(findings, "names-wait")
    assert waits.startswith("Names whose music is not ready yet: 30 (name-000, name-001") and "… (30)" in waits
    assert waits.count("name-") == MOST_NAMED


def test_each_name_that_does_not_play_says_why() -> None:
    findings = found()
    assert sentences(findings, "name-refused") == ["The name fax cannot be played: it is almost silent."]
    assert sentences(findings, "name-full") == ["There is no room for the music of big: the cache is full (2.0 GB)."]
    assert sentences(findings, "radio-away") == [
        "The radio shop has been away for 1 h: the address answers with a web page."
    ]
    assert {level(each) for each in findings if each.id in ("name-refused", "name-full", "radio-away")} == {"warning"}


def test_a_radio_in_the_own_network_needs_a_setting_and_no_browser() -> None:
    why = "192.168.1.5 is not on the internet; MOH_ALLOW_RADIO=192.168.1.5 would allow it"
    (only,) = [each for each in found(listed=[radio("news", "away", why)]) if each.id.startswith("radio-")]
    assert words(only, "en").what == f"The address of the radio news is refused: {why}."
    assert "MOH_ALLOW_RADIO" in words(only, "en").do and "browser" not in words(only, "en").do
    assert "MOH_ALLOW_RADIO=192.168.1.5 とすると許可します" in words(only, "ja").what


def test_many_that_do_not_play_share_a_sentence() -> None:
    listed = [row(f"n{number}", state="refused", why="a text") for number in range(MOST_ALONE + 2)]
    findings = found(listed=listed)
    assert len(sentences(findings, "name-refused")) == MOST_ALONE
    assert sentences(findings, "names-more") == ["More names that do not play: 2 (n5, n6)."]


def test_a_folder_without_music() -> None:
    findings = found(listed=[], count=0, by_state={}, missing=[], notes=[])
    assert [(each.id, level(each)) for each in findings] == [("folder-empty", "error")]


def test_names_that_differ_in_capitals_only() -> None:
    findings = found(listed=[row("Jazz"), row("jazz"), row("news")])
    assert sentences(findings, "names-alike") == ["The names Jazz and jazz differ in capitals only."]


def test_a_dialled_name_that_is_like_one_of_the_folder_is_a_slip() -> None:
    missing = [{"name": name, "count": 4, "at": NOW - 120} for name in ("jaz", "JAZZ", "123", "\x1b[2J")]
    findings = found(missing=missing)
    assert sentences(findings, "name-slip") == [
        "Phones dial jaz, which is not in the folder; jazz is.",
        "Phones dial JAZZ, which is not in the folder; jazz is.",
    ]


def test_what_is_not_played_is_a_note() -> None:
    findings = found(listed=[radio("news", "connecting")], missing=[])
    assert sentences(findings, "not-played") == ["In the folder: jazz.wav is not played: jazz.mp3 has the same name."]
    assert findings[-1].id == "not-played" and level(findings[-1]) == "note"


def test_a_folder_that_cannot_be_used_is_no_empty_folder() -> None:
    note = "/music: the server (user 5060) may not read the folder. Run chmod a+rx on it"
    (only,) = found(listed=[], count=0, by_state={}, missing=[], notes=[note])
    assert (only.id, level(only)) == ("folder-trouble", "error")
    assert words(only, "en").what.startswith("The folder /music cannot be used: the server (user 5060) may not read")
    away = found(missing=[], notes=["/music: it is empty; its former names are kept for a while"])[-1]
    assert (away.id, level(away)) == ("folder-trouble", "warning"), "its names play on"
