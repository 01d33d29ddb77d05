"""The compiled form of the core, which is used where the variable ``COMPILED_CORE`` names its folder.

``tools/compile_core.py`` makes the folder, and the image has one. Without the variable the core runs as pure Python.
The laws kept here: a compiled core that was made of other sources than those in ``moh`` never runs, and no module of
the core is imported in both forms.
"""

from __future__ import annotations

import os
import sys
from hashlib import blake2b
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

VARIABLE = "COMPILED_CORE"
SOURCES = Path(__file__).parent.parent
PACKAGES = ("common", "sdp", "guard", "rtp", "sip")
"""The packages of the core, in ``moh``."""
LIBRARY = "moh_core__mypyc"
"""The module that holds the code of all compiled modules; these only refer to it."""
DIGEST = "digest"
"""The file, in the folder of the compiled core, with the digest of the sources that it was made of."""
PURE = "pure"
"""What that file says in an image that was built without a compiled core on purpose."""


def digest(sources: Path) -> str:
    """The digest of all modules of the core in the folder ``sources``, also of those that are not compiled."""
    found = blake2b(digest_size=16)
    for package in PACKAGES:
        for path in sorted((sources / package).glob("*.py")):
            text = path.read_bytes()
            found.update(f"{package}/{path.name} {len(text)}\n".encode())
            found.update(text)
    return found.hexdigest()


_faults: list[str] = []


def use_compiled_core() -> None:
    """Let all later imports of the core load its compiled form, if ``COMPILED_CORE`` names a folder that has it."""
    name = os.environ.get(VARIABLE, "")
    if not name:
        return
    folder = Path(name)
    if _made_of(folder) == PURE:
        return
    if why := _unusable(folder):
        _faults.append(f"the core runs as pure Python: {why}")
        return
    for package in PACKAGES:
        import_module(f"moh.{package}").__path__.insert(0, str(folder / "moh" / package))


def core_fault() -> str:
    """Why the core in ``COMPILED_CORE`` is not used, for the log; empty where it is used or none is named."""
    return ", ".join(_faults)


def _made_of(folder: Path) -> str:
    """What the file ``DIGEST`` in ``folder`` says; empty where there is none."""
    try:
        return (folder / DIGEST).read_text(encoding="ascii")
    except OSError:
        return ""


def _unusable(folder: Path) -> str:
    """Why the compiled core in ``folder`` cannot be used; empty where it can. Imports its library where it can."""
    made_of = _made_of(folder)
    if not made_of:
        return f"{folder} has no compiled core"
    if made_of != digest(SOURCES):
        return f"the compiled core in {folder} was made of other sources"
    if not any((folder / f"{LIBRARY}{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
        return f"the compiled core in {folder} is for another Python or another processor"
    packages = tuple(f"moh.{package}." for package in PACKAGES)
    if imported := [module for module in sys.modules if module.startswith(packages)]:
        return f"{imported[0]} was imported before the compiled core"
    sys.path.append(str(folder))
    try:
        import_module(LIBRARY)
    except ImportError as error:
        sys.path.remove(str(folder))
        return f"the compiled core in {folder} cannot be loaded: {error}"
    return ""


def is_compiled() -> bool:
    """Whether the compiled core is in use."""
    return LIBRARY in sys.modules
