"""A histogram counts a value in the range that it lies in."""

from __future__ import annotations

import pytest

from moh.common.histogram import Histogram, total


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (-1.0, [1, 0, 0]),
        (0.0, [1, 0, 0]),
        (0.01, [1, 0, 0]),
        (0.0101, [0, 1, 0]),
        (0.1, [0, 1, 0]),
        (5.0, [0, 0, 1]),
    ],
)
def test_a_bound_belongs_to_the_range_below_it(value: float, counts: list[int]) -> None:
    found = Histogram((0.01, 0.1))
    found.add(value)
    assert found.counts == counts
    assert found.sum == max(value, 0.0)


def test_a_value_may_count_several_times() -> None:
    found = Histogram((1.0,))
    found.add(0.5, 200)
    found.add(2.0)
    assert (found.counts, found.sum) == ([200, 1], 102.0)


def test_histograms_are_summed_up() -> None:
    one, other = Histogram((1.0,)), Histogram((1.0,))
    one.add(0.5)
    other.add(3.0, 2)
    found = total((1.0,), [one, other])
    assert (found.counts, found.sum) == ([1, 2], 6.5)
    assert total((1.0,), []).counts == [0, 0]
