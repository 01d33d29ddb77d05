"""Tests of the orders of the server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moh.radio.messages import BadOrder, Play, Stop, line_of, order_in

FILES = {"8000": "/a", "16000": "/b"}
PLAY = {"do": "play", "name": "jazz", "addresses": ["http://x/"], "fallback": FILES, "ring": None, "lists": False}


def line(**changes: object) -> bytes:
    return json.dumps({**PLAY, **changes}).encode()


def test_an_order_is_read() -> None:
    files = {8000: Path("/a"), 16000: Path("/b")}
    assert order_in(line()) == Play("jazz", ("http://x/",), files)
    assert order_in(line(ring={"files": FILES, "began": 5})) == Play("jazz", ("http://x/",), files, files, 5.0)
    assert order_in(b'{"do":"stop","name":"jazz"}\n') == Stop("jazz")


def test_an_order_is_bounded() -> None:
    order = order_in(line(addresses=["http://" + "x" * 5000] * 100))
    assert isinstance(order, Play)
    assert (len(order.addresses), len(order.addresses[0])) == (20, 2048)


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"x", b"[]", b"[" * 100000, b"\xff", b'{"do":"stop"}', line(name=""), line(name="x" * 256),
        line(do="dance"), line(addresses=[]), line(addresses="x"), line(addresses=[1]), line(fallback=None),
        line(fallback={"8000": "/a"}), line(ring=5), line(ring={"files": FILES}),
        line(ring={"files": FILES, "began": True}),
        line(ring={"files": FILES, "began": float("nan")}),
    ],
)  # fmt: skip
def test_an_order_that_makes_no_sense_is_refused(octets: bytes) -> None:
    with pytest.raises(BadOrder) as caught:
        order_in(octets)
    assert len(str(caught.value)) < 300


def test_a_report_is_one_line_of_ascii() -> None:
    assert line_of({"what": "radio", "title": "é\n"}) == b'{"what":"radio","title":"\\u00e9\\n"}\n'
