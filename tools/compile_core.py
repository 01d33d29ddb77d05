#!/usr/bin/env python3
"""Compiles those modules of the core that calls pass through, by mypyc: python3 tools/compile_core.py FOLDER

The folder gets all that ``COMPILED_CORE=FOLDER ./start.sh`` needs; what it held before is deleted. The source tree is
only read. It needs gcc, Python's headers and the packages of requirements-compile.txt. The image is built with it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from moh.server.compiled import DIGEST, LIBRARY, digest  # noqa: E402

MODULES = {
    "common": ("addresses", "counters", "errors", "histogram"),
    "sdp": ("description", "media_session", "offer_answer", "writer"),
    "guard": ("address_validation", "media_limits", "media_policy", "rate_limit"),
    "rtp": ("port_pool", "start_limit"),
    "sip": (
        "admission", "arrival", "call", "checkpoint", "dialled", "dialog", "headers", "history", "identity",
        "incoming", "invites", "message", "names", "parser", "pending", "registry", "requests", "responder",
        "session_timer", "timers", "transaction", "turns", "user_agent", "validation", "writer",
    ),
}  # fmt: skip
"""The modules that calls pass through. To compile the others would make no call faster."""
LEAK = "CPyBytes_Concat("
"""What ``bytes + bytes`` becomes. The code of mypyc 1.19 never frees its first operand; ``b"".join`` is harmless."""
FLAGS = ["-O1", "-g0"]
"""-O2 and -O3 compile for longer, and the core gets no faster: measured on 3.9."""


def fail(text: str) -> NoReturn:
    """End with one line that says why."""
    print(text, file=sys.stderr)
    sys.exit(1)


def write_c(target: Path) -> list[Any]:
    """Let mypyc write the C code below ``target``. Return the extension modules, as distutils describes them."""
    if sys.version_info >= (3, 12):
        import_module("setuptools")  # it brings distutils, which Python itself has no more
    mypycify: Any = import_module("mypyc.build").mypycify
    paths = [f"moh/{package}/{name}.py" for package, names in MODULES.items() for name in names]
    options = ["--config-file=", "--strict", f"--cache-dir={target / 'cache'}"]
    extensions: list[Any] = mypycify([*options, *paths], group_name=LIBRARY.partition("__")[0], target_dir=str(target))
    return extensions


def leaks(code: str) -> list[str]:
    """The places in the sources from which ``LEAK`` came, as FILE:LINE."""
    calls = code.split(f" = {LEAK}")[1:]
    found = (re.search(r'CPy_AddTraceback\("(.*?)", ".*?", (\d+)', call) for call in calls)
    return [f"{place[1]}:{place[2]}" if place else "an unknown place" for place in found]


def build(folder: Path) -> None:
    """Compile the core into ``folder``, in place of what it held."""
    os.chdir(ROOT)  # mypyc takes the names of the modules from relative paths
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        extensions = write_c(work / "c")
        if places := leaks("".join(path.read_text(encoding="utf-8") for path in (work / "c").rglob("__native*.c"))):
            fail(f"bytes + bytes in {', '.join(places)}; expected b''.join((one, other)), since mypyc leaks the sum")
        for extension in extensions:
            extension.extra_compile_args = [*extension.extra_compile_args, *FLAGS]  # mypycify makes one list for all
            extension.extra_link_args = [*extension.extra_link_args, "-s"]
        command = ["build_ext", "--build-lib", str(work / "lib"), "--build-temp", str(work / "objects"), "--quiet"]
        import_module("distutils.core").setup(name="moh-core", script_args=command, ext_modules=extensions)
        (work / "lib" / DIGEST).write_text(digest(ROOT / "moh"), encoding="ascii")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(work / "lib", folder)


def main() -> None:
    """Check what the command line names, then build."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        fail(str(__doc__))
    folder = Path(sys.argv[1]).resolve()
    if folder == ROOT or ROOT in folder.parents or folder in ROOT.parents:
        fail(f"{folder} holds the sources or is among them; expected a folder elsewhere")
    if folder.exists() and any(folder.iterdir()) and not (folder / DIGEST).exists():
        fail(f"{folder} holds other files; expected a new folder, or one that this tool has made")
    compiler = (sysconfig.get_config_var("CC") or "gcc").split()[0]
    if shutil.which(compiler) is None:
        fail(f"There is no {compiler}; on Debian or Ubuntu the package gcc has it")
    build(folder)


if __name__ == "__main__":
    main()
