"""No timer, packet or end of a call depends on the wall clock, which NTP or a person can set at any time."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
READ_THE_WALL_CLOCK = {
    "moh/mastering/cache.py": "the age of files that no server has used for long, which are removed at the start",
    "moh/library/scan.py": "the age of files, as for file_watch.py, and which hour of a shuffled folder it is",
    "moh/mastering/file_watch.py": "whether a file was written to just before the start; a wrong clock costs 2 s",
    "moh/radio/ring.py": "the age of rings that a killed process has left, which are removed after the start",
    "moh/server/log_format.py": "the time of a line, which the record has, in local time",
    "moh/server/state.py": "the times in the state, which people and programs compare with their own clock",
    "moh/server/trace.py": "the times of packets in the capture file",
    "moh/shared/reports.py": "the NTP timestamp of a sender report (RFC 3550 §6.4.1)",
}
"""Modules that may read the wall clock, and for what."""
WALL = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime"}
STEADY = {"monotonic", "monotonic_ns", "perf_counter", "sleep", "timezone"}


def reads_the_wall_clock(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
            return True
        if isinstance(node, ast.Import) and any(alias.name == "datetime" for alias in node.names):
            return True
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            assert node.attr in WALL | STEADY, f"{path} line {node.lineno}: is time.{node.attr} a wall clock?"
            if node.attr in WALL:
                return True
    return False


def test_only_these_modules_read_the_wall_clock() -> None:
    paths = [*(ROOT / "moh").rglob("*.py"), ROOT / "sip_server.py"]
    assert {path.relative_to(ROOT).as_posix() for path in paths if reads_the_wall_clock(path)} == set(
        READ_THE_WALL_CLOCK
    )
