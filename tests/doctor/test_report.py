"""The report of the doctor in a terminal of 80 columns."""

from __future__ import annotations

from string import Formatter

import pytest

from moh.doctor.finding import Finding, duration, finding, megabytes
from moh.doctor.report import COLUMNS, INDENT, language_of, lines, width
from moh.doctor.texts import TEXTS

SAMPLE = [
    finding("ports-free", sip=5060, rtp="10000-10100"),
    finding("calls-none", since="2 min 5 s", port=5060),
    finding("ffmpeg-missing"),
]


def test_errors_come_first_and_the_end_counts_them() -> None:
    assert list(lines(SAMPLE, "en")) == [
        "ERROR     The program ffmpeg is missing.",
        "          Without it the server cannot start, and a server that runs gives new",
        "          callers no music.",
        "          Do: Install it: apt-get install ffmpeg, or run ./start.sh.",
        "note      No phone has called since the start, 2 min 5 s ago.",
        "          If a phone has put a call on hold since then, its call has not reached",
        "          this server.",
        "          Do: Check the address in the phone, and that no firewall drops port",
        "          5060/udp.",
        "ok        The ports 5060 (SIP) and 10000-10100 (music) are free.",
        "Errors: 1, warnings: 0.",
    ]


def test_japanese_characters_take_two_columns_and_no_line_begins_with_a_full_stop() -> None:
    found = list(lines(SAMPLE, "ja"))
    assert found[0] == "エラー    プログラム ffmpeg がありません。"
    assert found[-1] == "エラー 1 件、警告 0 件です。"
    assert not [line for line in found if line.strip()[0] in "、。）"]


def test_without_errors_and_warnings_all_is_well() -> None:
    for language, end in (("en", "All is well."), ("ja", "問題は見つかりませんでした。")):
        assert list(lines(SAMPLE[:2], language))[-1] == end


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", TEXTS)
def test_each_finding_fits(name: str, language: str) -> None:
    placeholders = {place for text in (*TEXTS[name].en, *TEXTS[name].ja) for _, place, _, _ in Formatter().parse(text)}
    values = {place: "192.168.100.100" for place in placeholders if place}
    found = list(lines([Finding(name, values)], language))
    for line in found:
        assert width(line) <= COLUMNS, line
    for line in found[1:-1]:
        assert line.startswith(" " * INDENT)


def test_a_word_that_is_too_long_is_not_cut() -> None:
    path = "/" + 100 * "x"
    assert any(path in line for line in lines([finding("trace-disk", file=path, free="1 MB")], "en"))


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"), ({"LANG": "ja_JP.UTF-8"}, "ja"), ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "ja_JP"}, "ja"), ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "ja", "LC_ALL": ""}, "ja"),
    ],
)  # fmt: skip
def test_the_language_is_that_of_the_messages(environment: dict[str, str], language: str) -> None:
    assert language_of(environment) == language


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.6, "1 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (-1, "0 s"),
    ],
)
def test_a_length_of_time_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_megabytes() -> None:
    assert (megabytes(1.26e6), megabytes(123.4e6)) == ("1.3 MB", "123 MB")
