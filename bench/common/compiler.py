"""Programs in C, compiled where they are needed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def compiled(source: Path, folder: Path) -> str:
    """Compile ``source`` by ``cc`` into ``folder``. Return the program's path.

    Raises ``RuntimeError`` if there is no ``cc``.
    """
    compiler = shutil.which("cc")
    if not compiler:
        raise RuntimeError("no C compiler on the PATH; expected cc")
    program = folder / source.stem
    command = [compiler, "-O2", "-pthread", "-o", str(program), str(source)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cc does not compile {source.name}: {done.stderr.strip()}")
    return str(program)
