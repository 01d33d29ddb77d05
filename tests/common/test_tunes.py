"""The table of tunes that both engines share."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest

from moh.common.tunes import Tune, Tunes

FIRST = Tune({8000: Path("first8.wav"), 16_000: Path("first16.wav")}, 12.5)
SECOND = Tune({8000: Path("second8.wav")}, 3.0)


def test_a_tune_is_found_by_the_number_that_it_was_given() -> None:
    tunes = Tunes()
    assert (tunes.add(FIRST), tunes.add(SECOND)) == (0, 1)
    assert (tunes.get(0), tunes.get(1)) == (FIRST, SECOND)


def test_a_number_without_a_tune_is_an_error_that_lists_the_numbers_with_a_tune() -> None:
    tunes = Tunes()
    tunes.add(FIRST)
    with pytest.raises(LookupError, match=r"tune is 7; expected one of \[0\]"):
        tunes.get(7)


def test_keep_forgets_all_other_tunes_and_their_numbers_are_not_given_again() -> None:
    tunes = Tunes()
    for _ in range(3):
        tunes.add(FIRST)
    tunes.keep({1, 2})
    tunes.keep({2})
    assert tunes.get(2) == FIRST
    with pytest.raises(LookupError):
        tunes.get(1)
    tunes.keep(set())
    assert tunes.add(SECOND) == 3


def test_the_owner_of_the_files_lives_as_long_as_the_tune() -> None:
    class Owner:
        """A stand-in for the owner of the files, which removes them when it is deleted."""

    tunes, owner = Tunes(), Owner()
    alive = weakref.ref(owner)
    number = tunes.add(Tune(FIRST.files, FIRST.seconds, owner))
    del owner
    assert alive() is not None
    tunes.keep({number})
    assert alive() is not None
    tunes.keep(set())
    assert alive() is None


def test_a_tune_has_no_plain_twin_and_is_not_live_unless_it_says_so() -> None:
    assert (FIRST.plain, FIRST.plain_for, FIRST.announcements, FIRST.began) == ({}, 0.0, (), None)
