"""Answers as plain data, and the parts of a file that a Range field asks for."""

from __future__ import annotations

from typing import Optional

import pytest

from moh.http.answers import JSON, TEXT, data, text, wanted_part


def test_a_line_for_people_is_text_that_no_browser_keeps() -> None:
    answer = text(503, "no music yet", ("Retry-After", "1"))
    assert answer == (503, TEXT, b"no music yet\n", (("Cache-Control", "no-store"), ("Retry-After", "1")))
    assert answer.length == 13


def test_text_that_is_no_unicode_is_escaped() -> None:
    assert text(404, "\udcff").body == b"\\udcff\n"


def test_data_is_json() -> None:
    assert data(200, {"peaks": [0.5]})[:3] == (200, JSON, b'{"peaks": [0.5]}')


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", None),
        ("bytes=0-", (0, 1000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 10)),
        ("bytes=990-2000", (990, 10)),
        ("bytes=-100", (900, 100)),
        ("bytes=-2000", (0, 1000)),
        (" bytes=0-1 ", (0, 2)),
        ("bytes=1000-", (1000, 0)),
        ("bytes=5000-6000", (5000, 0)),
        ("bytes=-0", (1000, 0)),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("octets=0-1", None),
        ("bytes=" + "9" * 40 + "-", None),
        ("bytes=\u0661-", None),
    ],
)
def test_a_range_of_one_part_is_read(field: str, expected: Optional[tuple[int, int]]) -> None:
    assert wanted_part(field, 1000) == expected
