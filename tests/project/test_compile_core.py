"""``tools/compile_core.py``: which modules it compiles, what it refuses. ``COMPILED=1 ./test.sh`` compiles for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moh.server.compiled import PACKAGES
from tools.compile_core import MODULES, ROOT, leaks


def refusal(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "tools" / "compile_core.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    return done.stderr.strip()


def test_each_module_that_is_compiled_is_of_the_core() -> None:
    assert tuple(MODULES) == PACKAGES
    for package, names in MODULES.items():
        assert list(names) == sorted(names)
        for name in names:
            assert (ROOT / "moh" / package / f"{name}.py").is_file(), f"{package}/{name}.py"


@pytest.mark.parametrize("folder", [ROOT, ROOT / "moh", ROOT / "new", ROOT.parent])
def test_a_folder_in_or_around_the_sources_is_refused(folder: Path) -> None:
    assert refusal(str(folder)) == f"{folder} holds the sources or is among them; expected a folder elsewhere"


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert refusal(str(tmp_path)).startswith(f"{tmp_path} holds other files; expected ")
    assert (tmp_path / "mine").exists()


def test_without_a_folder_it_explains_itself() -> None:
    assert "python3 tools/compile_core.py FOLDER" in refusal()


def test_a_sum_of_bytes_is_found_in_the_c_code() -> None:
    code = 'r3 = CPyBytes_Concat(r1, r2);\nif (!r3) {\n    CPy_AddTraceback("moh/sip/writer.py", "_finish", 114, g);\n'
    assert leaks(code) == ["moh/sip/writer.py:114"]
    assert leaks("PyObject *CPyBytes_Concat(PyObject *a, PyObject *b);") == []
