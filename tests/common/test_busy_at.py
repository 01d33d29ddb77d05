"""The value of MOH_BUSY_AT."""

from __future__ import annotations

import pytest

from moh.common.busy_at import NEVER, BusyAt, read_busy_at


@pytest.mark.parametrize(
    ("text", "found"),
    [("", NEVER), ("1", BusyAt(calls=1)), ("2000", BusyAt(calls=2000)), ("80%", BusyAt(share=0.8)),
     ("150 %", BusyAt(share=1.5)), ("999999", BusyAt(calls=999999))],
)  # fmt: skip
def test_calls_or_a_share_of_one_core(text: str, found: BusyAt) -> None:
    assert read_busy_at(text) == found


@pytest.mark.parametrize("text", ["0", "-1", "0%", "80 calls", "1.5", "%", "1e3", "٢", "1000000"])
def test_what_is_neither_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="a number of calls as 2000, a share of one core as 80%"):
        read_busy_at(text)


def test_a_limit_is_shown_as_the_owner_wrote_it() -> None:
    assert (str(BusyAt(calls=2000)), str(BusyAt(share=0.8))) == ("2000", "80%")
