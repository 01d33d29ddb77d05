"""The one law of structure: imports point down, and the core does nothing but decide."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "moh"

FLOORS = [
    ["errors", "timers", "addresses", "codecs", "tally"],
    ["actions"],
    ["headers", "sdp"],
    ["message", "answer"],
    ["reply", "destinations", "guard", "ports", "session_timer", "framing", "rtcp"],
    ["screening", "identity", "transaction", "media", "turnstile"],
    ["dialog"],
    ["call"],
    ["user_agent"],
]
"""The core from the ground up; who stands on one line does not know each other."""

BESIDE = [
    ["config", "network", "doubts", "shown", "journal", "seam", "starts", "threads"],
    ["command", "many", "connection", "resolver"],
    ["runner", "cache", "witness", "frames", "inbox", "intake", "tcp"],
    ["filters", "batch", "player"],
    ["mastering", "stream"],
    ["music", "pacer"],
    ["watch", "broadcast"],
    ["engines"],
]
"""For the shell only: they drive ffmpeg or sockets, or write for people. Of the core they know words, framing, rtcp."""

MAY_IMPORT = {
    # the core: no socket, process, thread, clock or randomness
    "errors": set(),
    "timers": {"heapq"},
    "addresses": {"functools", "ipaddress"},
    "codecs": set(),
    "tally": set(),
    "actions": set(),
    "headers": {"re"},
    "sdp": set(),
    "message": {"functools", "types"},
    "answer": {"types"},
    "reply": set(),
    "destinations": set(),
    "guard": set(),
    "turnstile": set(),
    "ports": set(),
    "session_timer": set(),
    "framing": set(),
    "rtcp": {"struct"},
    "screening": set(),
    "identity": {"hashlib"},
    "transaction": {"enum"},
    "media": set(),
    "dialog": set(),
    "call": {"logging"},  # for the names of the levels of a Note
    "user_agent": {"logging"},
    # beside the floors
    "config": {"logging"},
    "shown": set(),
    "journal": {"logging", "os", "queue", "threading", "time"},
    "network": {"fcntl", "ipaddress", "pathlib", "socket", "struct", "sys", "termios"},
    "threads": {"threading"},
    "resolver": {"queue", "socket"},
    "command": {"pathlib", "shutil", "subprocess", "ffmpeg"},
    "seam": {"array", "math", "os", "sys", "pathlib"},
    "runner": {"select", "os", "re", "shutil", "subprocess", "tempfile"},
    "cache": {
        "contextlib",
        "fcntl",
        "hashlib",
        "json",
        "os",
        "pathlib",
        "re",
        "shutil",
        "stat",
        "tempfile",
        "time",
        "wave",
    },
    "filters": {"pathlib", "ffmpeg"},
    "mastering": {"math", "pathlib", "re"},
    "watch": {"pathlib", "queue", "threading"},
    "music": {"os", "pathlib", "shutil", "signal", "stat", "sys", "time"},
    "witness": {"errno", "os", "re", "socket"},
    "starts": set(),
    "player": {"logging", "os", "pathlib", "secrets", "socket", "subprocess", "time"},
    "stream": {
        "logging",
        "os",
        "queue",
        "re",
        "selectors",
        "socket",
        "threading",
        "time",
        "pathlib",
    },
    "doubts": set(),
    "many": {"ctypes", "errno", "socket", "struct", "sys"},
    "intake": {"ctypes", "mmap", "socket", "struct"},
    "inbox": {"ctypes", "socket", "struct", "sys"},
    "frames": {"os", "select", "subprocess", "tempfile", "time", "pathlib"},
    "batch": {"struct"},
    "pacer": {
        "heapq",
        "itertools",
        "logging",
        "queue",
        "random",
        "secrets",
        "socket",
        "time",
    },
    "broadcast": {"logging", "os", "queue", "threading", "pathlib"},
    "engines": {"pathlib"},
    "connection": {"logging", "math", "select", "socket", "socketserver", "ssl", "threading", "time"},
    "tcp": {"errno", "itertools", "logging", "socket", "socketserver", "ssl", "threading", "time"},
}
"""What each module may import from outside of ``moh``, on top of ``HARMLESS``."""

HARMLESS = {"__future__", "collections", "dataclasses", "typing"}


def imports(module: str) -> tuple[set[str], set[str]]:
    """The modules of ``moh`` that a module imports, and the ones from outside."""
    inside, outside = set(), set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.module, f"moh/{module}.py line {node.lineno}: write 'from .module import name'"
            inside.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            outside.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Import):
            outside.update(alias.name.partition(".")[0] for alias in node.names)
    return inside, outside


def test_each_module_has_its_floor() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert modules == {name for floor in FLOORS + BESIDE for name in floor} == set(MAY_IMPORT)


def test_imports_point_down() -> None:
    below: set[str] = set()
    for floor in FLOORS:
        for module in floor:
            upwards = imports(module)[0] - below
            assert not upwards, f"moh/{module}.py imports {upwards}, which is not below it"
        below |= set(floor)


def test_what_stands_beside_knows_only_the_words() -> None:
    below = {"errors", "timers", "addresses", "codecs", "actions", "framing", "rtcp"}
    for floor in BESIDE:
        for module in floor:
            assert imports(module)[0] <= below, f"moh/{module}.py imports {imports(module)[0] - below}"
        below |= set(floor)


def test_only_the_named_modules_touch_the_world() -> None:
    for module, allowed in MAY_IMPORT.items():
        unexpected = imports(module)[1] - allowed - HARMLESS
        assert not unexpected, f"moh/{module}.py imports {unexpected}; the list in this test says who may, and why"


def test_the_core_calls_nothing_that_reads_the_world() -> None:
    core = {name for floor in FLOORS for name in floor}
    for module in core:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"open", "print", "input", "exec", "eval", "__import__"}, module


def test_modules_stay_short_or_say_why() -> None:
    root = PACKAGE.parent
    for path in [*PACKAGE.glob("*.py"), *root.glob("*.py"), *(root / "tests").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 300:
            assert "300 lines" in text[:1500], f"{path.name} has {text.count(chr(10))} lines; say why, or split it"
