"""The one law of structure: imports point down, and the core does nothing but decide."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "moh"

FLOORS = [
    ["errors", "timers", "addresses", "codecs"],
    ["actions"],
    ["headers"],
    ["message"],
    ["reply", "sdp", "ports"],
    ["screening", "identity", "transaction"],
    ["dialog"],
    ["call"],
    ["user_agent"],
]
"""The core from the ground up; who stands on one line does not know each other."""

BESIDE = {"config", "music", "stream"}
"""For the shell only: the core may not import them, nor do they import the core above ``actions``."""

MAY_IMPORT = {
    # the core: no socket, process, thread, clock or randomness
    "errors": set(),
    "timers": {"heapq"},
    "addresses": {"ipaddress", "functools"},
    "codecs": set(),
    "actions": set(),
    "headers": set(),
    "message": {"types"},
    "reply": set(),
    "sdp": set(),
    "ports": set(),
    "screening": set(),
    "identity": {"hashlib"},
    "transaction": {"enum"},
    "dialog": set(),
    "call": {"logging"},  # for the names of the levels of a Note
    "user_agent": {"logging"},
    # beside the floors
    "config": {"logging"},
    "music": {"hashlib", "os", "subprocess", "sys", "tempfile", "time", "wave", "pathlib", "ffmpeg"},
    "stream": {
        "logging", "os", "queue", "selectors", "shutil", "socket", "subprocess", "threading", "time", "pathlib",
        "ffmpeg",
    },
}  # fmt: skip
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
    assert modules == {name for floor in FLOORS for name in floor} | BESIDE == set(MAY_IMPORT)


def test_imports_point_down() -> None:
    below: set[str] = set()
    for floor in FLOORS:
        for module in floor:
            upwards = imports(module)[0] - below
            assert not upwards, f"moh/{module}.py imports {upwards}, which is not below it"
        below |= set(floor)


def test_what_drives_ffmpeg_knows_only_the_words() -> None:
    words = {"errors", "timers", "addresses", "codecs", "actions"}
    for module in BESIDE:
        assert imports(module)[0] <= words | BESIDE


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
