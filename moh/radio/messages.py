"""What the server and the process of the radios say to each other: one JSON object on each line. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from .samples import RATES

LONGEST_NAME = 255
MOST_ADDRESSES = 20
LONGEST_ADDRESS = 2048
"""Limits of one order, in characters and addresses."""


class BadOrder(Exception):
    """An order that cannot be carried out. The text says why."""


@dataclass(frozen=True)
class Play:
    """Play a radio; if it plays already, change its addresses or its fallback."""

    name: str
    addresses: tuple[str, ...]
    fallback: Mapping[int, Path]
    ring_files: Mapping[int, Path] = field(default_factory=dict)
    """The ring of a process that has ended; empty for a new one."""
    ring_began: float = 0.0


@dataclass(frozen=True)
class Stop:
    """Stop a radio and remove its ring."""

    name: str


def order_in(line: bytes) -> Union[Play, Stop]:
    """The order in a line from the server. Raises ``BadOrder``."""
    try:
        order = json.loads(line)
    except (ValueError, RecursionError):
        raise BadOrder(f"{line[:80]!r} is no JSON") from None
    if not isinstance(order, dict):
        raise BadOrder(f"{line[:80]!r} is no order; expected a JSON object")
    name, action = order.get("name"), order.get("do")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise BadOrder(f"an order for {str(name)[:80]!r}; expected a name of 1 to {LONGEST_NAME} characters")
    if action == "stop":
        return Stop(name)
    if action != "play":
        raise BadOrder(f"the order {str(action)[:80]!r}; expected play or stop")
    addresses = order.get("addresses")
    if not isinstance(addresses, list) or not all(isinstance(each, str) for each in addresses):
        raise BadOrder(f"the addresses of {name!r} are no list of texts")
    if not addresses:
        raise BadOrder(f"{name!r} has no address")
    ring = order.get("ring") or {}
    if not isinstance(ring, dict):
        raise BadOrder(f"the ring of {name!r} is {str(ring)[:80]!r}; expected an object or null")
    return Play(
        name,
        tuple(each[:LONGEST_ADDRESS] for each in addresses[:MOST_ADDRESSES]),
        _files(order.get("fallback"), f"the fallback of {name!r}"),
        _files(ring.get("files"), f"the ring of {name!r}") if ring else {},
        _seconds(ring.get("began"), f"the ring of {name!r}") if ring else 0.0,
    )


def line_of(message: Mapping[str, Any]) -> bytes:
    """The line for a message to the server."""
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _files(said: Any, what: str) -> dict[int, Path]:
    if not isinstance(said, dict) or not all(isinstance(said.get(str(rate)), str) for rate in RATES):
        raise BadOrder(f"{what} has no files for {' and '.join(map(str, RATES))} Hz")
    return {rate: Path(said[str(rate)]) for rate in RATES}


def _seconds(said: Any, what: str) -> float:
    if isinstance(said, bool) or not isinstance(said, (int, float)) or not abs(said) < 1e12:
        raise BadOrder(f"{what} began at {str(said)[:40]!r}; expected seconds")
    return float(said)
