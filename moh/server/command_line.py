"""The command line of ``sip_server.py``. It imports nothing outside of Python, so that ``--help`` needs no package."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from ..common.config import Settings


def read_arguments() -> argparse.Namespace:
    """Read the command line. It says what to do; all settings are environment variables."""
    rows = [f"  {env:<24}{text} [{default or 'empty'}]" for env, default, text in Settings.table()]
    parser = argparse.ArgumentParser(
        prog="sip_server.py",
        description="Plays music to every caller: the server behind the Music On Hold URI of a SIP phone.",
        epilog="settings, from the environment, with their defaults:\n" + "\n".join(rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain = "say what the server answers to the INVITE in FILE, or pasted into the terminal, and why"
    parser.add_argument("--explain", nargs="?", const="-", metavar="FILE", help=explain)
    source = "with --explain: the address that the INVITE came from"
    parser.add_argument("--from", dest="source", default="", metavar="ADDRESS", help=source)
    check = "examine the set-up and the running server, call it, and say what is wrong (docs/doctor.md)"
    parser.add_argument("--check", action="store_true", help=check)
    parser.add_argument("--json", action="store_true", help="with --check: print the findings as JSON")
    arguments = parser.parse_args()
    if arguments.json and not arguments.check:
        parser.error("--json is for --check")
    if arguments.source and arguments.explain is None:
        parser.error("--from is for --explain")
    return arguments


def missing_package() -> str:
    """One line for the owner where this Python lacks a package that the server needs; otherwise empty."""
    if find_spec("ffmpeg") is not None:
        return ""
    return "This Python has no package 'ffmpeg-python'; ./start.sh installs it, and starts the server"
