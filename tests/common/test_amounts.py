"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from moh.common.amounts import amount


@pytest.mark.parametrize(("number", "said"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls"), (21, "21 calls")])
def test_only_one_is_singular(number: int, said: str) -> None:
    assert amount(number, "call") == said
