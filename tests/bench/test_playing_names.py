"""The tables of ``bench.playing names``, and how its files appear."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from bench.playing.names import APPEAR, ONE, STILL, Sight, appear, arguments, tables


def sight(late: float, spacing_p99: float = 20.0) -> Sight:
    return Sight(**{**{each.name: 1.0 for each in fields(Sight)}, "late": late, "spacing_p99": spacing_p99})


def test_the_differences_are_of_figures_of_the_same_round() -> None:
    text = tables({ONE: [sight(0.1), sight(0.2)], STILL: [sight(0.1), sight(0.5)], APPEAR: [sight(0.2), sight(0.5)]})
    line = next(line for line in text.splitlines() if f"{APPEAR} / {STILL}" in line)
    assert "x 1.00 (1.00-1.00) | +0.050 (+0.000 to +0.100)" in line


def test_a_thousand_files_of_three_minutes_appear_if_no_option_says_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = arguments([])
    assert (given.callers, given.files, given.length) == (1000, 1000, 180.0)
    with pytest.raises(SystemExit):
        arguments(["--files", "0"])
    assert "1 to 20000 files" in capsys.readouterr().err


def test_all_files_that_appear_have_the_same_content(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "piece.mp3").write_bytes(b"x")
    appear(tmp_path / "piece.mp3", tmp_path / "music", 3)
    assert [path.name for path in sorted((tmp_path / "music").iterdir())] == [
        "piece0.mp3", "piece1.mp3", "piece2.mp3",
    ]  # fmt: skip
