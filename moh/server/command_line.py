"""The command line of ``sip_server.py``. It imports nothing outside of Python, so that ``--help`` needs no package."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from ..common.config import Settings


def read_arguments() -> None:
    """Read the command line. Its only option is ``--help``: all settings are environment variables."""
    rows = [f"  {env:<24}{text} [{default or 'empty'}]" for env, default, text in Settings.table()]
    argparse.ArgumentParser(
        prog="sip_server.py",
        description="Plays music to every caller: the server behind the Music On Hold URI of a SIP phone.",
        epilog="settings, from the environment, with their defaults:\n" + "\n".join(rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


def missing_package() -> str:
    """One line for the owner where this Python lacks a package that the server needs; otherwise empty."""
    if find_spec("ffmpeg") is not None:
        return ""
    return "This Python has no package 'ffmpeg-python'; ./start.sh installs it, and starts the server"
