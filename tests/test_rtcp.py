"""RTCP of our own making (RFC 3550 §6)."""

from __future__ import annotations

import pytest

from moh.rtcp import goodbye


def test_a_goodbye_is_a_report_a_name_and_a_bye() -> None:
    words = goodbye(0x01020304, "moh@a").hex(" ", 4).split()
    assert words[:2] == ["80c90001", "01020304"], "an empty report"
    assert words[2:6] == ["81ca0003", "01020304", "01056d6f", "68406100"], "the name"
    assert words[6:] == ["81cb0001", "01020304"], "the farewell"


@pytest.mark.parametrize("cname", ["moh@a", "moh@10.0.0.1", "moh@2001:db8::1", "m"])
def test_its_parts_fill_whole_words_and_the_name_ends_with_a_zero(cname: str) -> None:
    data, types = goodbye(1, cname), []
    while data:
        length = 4 * (int.from_bytes(data[2:4], "big") + 1)
        types.append(data[1])
        data = data[length:]
    assert types == [201, 202, 203]
    assert cname.encode() + b"\0" in goodbye(1, cname)
