"""The compiled core is used only if it was made of the sources in ``moh``."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from moh.server.compiled import DIGEST, LIBRARY, PACKAGES, SOURCES, digest

REPORT = (
    "from moh.server.compiled import *; use_compiled_core(); print(core_fault() or 'no fault'); print(is_compiled())"
)


def run(folder: str, before: str = "") -> list[str]:
    """``core_fault`` and ``is_compiled`` of a new Python with the compiled core in ``folder``."""
    environment = {**os.environ, "COMPILED_CORE": folder}
    command = [sys.executable, "-c", f"{before}; {REPORT}" if before else REPORT]
    return subprocess.run(
        command, cwd=SOURCES.parent, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()


def made(folder: Path, made_of: str, library: str = LIBRARY + EXTENSION_SUFFIXES[0]) -> str:
    (folder / DIGEST).write_text(made_of)
    (folder / library).write_bytes(b"no library")
    return str(folder)


def test_without_the_variable_the_core_is_pure_python() -> None:
    assert run("") == ["no fault", "False"]


def test_a_folder_without_a_compiled_core_is_reported(tmp_path: Path) -> None:
    assert run(str(tmp_path)) == [f"the core runs as pure Python: {tmp_path} has no compiled core", "False"]


def test_a_core_that_is_pure_python_on_purpose_is_not_reported(tmp_path: Path) -> None:
    (tmp_path / "digest").write_text("pure")
    assert run(str(tmp_path)) == ["no fault", "False"]


def test_a_core_of_other_sources_is_not_used(tmp_path: Path) -> None:
    why = f"the compiled core in {tmp_path} was made of other sources"
    assert run(made(tmp_path, "0" * 32)) == [f"the core runs as pure Python: {why}", "False"]


def test_a_core_for_another_python_is_not_used(tmp_path: Path) -> None:
    folder = made(tmp_path, digest(SOURCES), f"{LIBRARY}.cpython-27-none.so")
    why = f"the compiled core in {tmp_path} is for another Python or another processor"
    assert run(folder) == [f"the core runs as pure Python: {why}", "False"]


def test_a_core_that_cannot_be_loaded_is_not_used(tmp_path: Path) -> None:
    line, used = run(made(tmp_path, digest(SOURCES)))
    assert line.startswith(f"the core runs as pure Python: the compiled core in {tmp_path} cannot be loaded: ")
    assert used == "False"


def test_a_core_of_which_a_module_was_imported_before_is_not_used(tmp_path: Path) -> None:
    line, used = run(made(tmp_path, digest(SOURCES)), "import moh.sip.timers")
    assert line.endswith(" was imported before the compiled core") and used == "False"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_digest_changes_with_each_package(tmp_path: Path, package: str) -> None:
    for each in PACKAGES:
        (tmp_path / each).mkdir()
        (tmp_path / each / "a.py").write_text("1")
    before = digest(tmp_path)
    assert digest(tmp_path) == before
    (tmp_path / package / "a.py").write_text("2")
    changed = digest(tmp_path)
    (tmp_path / package / "a.py").rename(tmp_path / package / "b.py")
    assert len({before, changed, digest(tmp_path)}) == 3
