"""The order of pieces, and which of them are in one hour."""

from __future__ import annotations

from moh.library.order import from_piece, hour_of, natural, shuffled


def test_numbers_in_names_count_as_numbers_and_capitals_do_not_matter() -> None:
    names = ["10 b.mp3", "2 a.mp3", "b.mp3", "C.mp3", "a.mp3", "02 a.mp3", "²x.mp3", "٣.mp3"]
    assert sorted(names, key=natural)[:6] == ["02 a.mp3", "2 a.mp3", "10 b.mp3", "a.mp3", "b.mp3", "C.mp3"]


def test_a_name_comes_before_the_same_name_with_a_number() -> None:
    names = ["shop10", "shop", "shop2", "2", "", "shop2a", "10", "shop2.mp3", "shopping"]
    ordered = ["", "2", "10", "shop", "shop2", "shop2.mp3", "shop2a", "shop10", "shopping"]
    assert sorted(names, key=natural) == ordered
    names.reverse()
    assert sorted(names, key=natural) == ordered


def test_two_names_that_differ_by_case_have_an_order_of_their_own() -> None:
    assert sorted(["jazz", "Jazz"], key=natural) == sorted(["Jazz", "jazz"], key=natural)


def test_a_seed_decides_the_order_of_a_shuffled_folder() -> None:
    pieces = [f"{number}.mp3" for number in range(20)]
    assert shuffled(pieces, "folk 1") == shuffled(pieces, "folk 1")
    assert shuffled(pieces, "folk 1") != shuffled(pieces, "folk 2")
    assert sorted(shuffled(pieces, "folk 1")) == sorted(pieces)


def test_an_hour_asks_for_one_length_after_the_other() -> None:
    order = ["a", "b", "c"]
    assert hour_of(order, {}) == ([], "a")
    assert hour_of(order, {"a": 10.0}) == (["a"], "b")
    assert hour_of(order, {"a": 10.0, "b": 10.0, "c": 10.0}) == (order, None)


def test_an_hour_ends_before_the_piece_that_is_too_much_and_needs_no_length_after_it() -> None:
    assert hour_of(["a", "b", "c"], {"a": 2000.0, "b": 2000.0}) == (["a"], None)


def test_a_piece_that_is_longer_than_an_hour_plays_by_itself() -> None:
    assert hour_of(["a", "b"], {"a": 4000.0, "b": 1.0}) == (["a"], None)


def test_the_next_hour_begins_with_its_piece_and_with_the_first_where_that_is_gone() -> None:
    assert from_piece(["a", "b", "c"], "c") == ["c", "a", "b"]
    assert from_piece(["a", "b", "c"], "x") == ["a", "b", "c"]
    assert from_piece(["a", "b", "c"], None) == ["a", "b", "c"]
