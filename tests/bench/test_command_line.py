"""The options that all benchmarks share, and the order of the measurements within a round."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pytest

from bench.common.command_line import Choice, choose, numbers
from bench.playing.rounds import in_turn


def test_the_first_argument_chooses_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Sequence[str]] = []

    def main(options: Sequence[str]) -> int:
        called.append(options)
        return 3

    monkeypatch.setattr("sys.argv", ["bench", "floods", "--seconds", "2"])
    assert choose("bench", "", {"amplification": Choice("", lambda _: 1), "floods": Choice("", main)}) == 3
    assert called == [["--seconds", "2"]]


def test_numbers_are_separated_by_commas(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    assert numbers(parser, "--calls", "1,25") == [1, 25]
    with pytest.raises(SystemExit):
        numbers(parser, "--calls", "1;25")
    assert "--calls is '1;25'; expected numbers separated by commas" in capsys.readouterr().err


def test_each_round_has_another_order() -> None:
    assert [in_turn("abc", number) for number in range(3)] == [["a", "b", "c"], ["a", "c", "b"], ["c", "a", "b"]]
    assert in_turn([], 1) == []
