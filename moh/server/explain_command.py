"""``sip_server.py --explain``: reads the pasted message, and prints what ``explain`` says of it.

The exit status is 0 where the call would be accepted, 1 where it would be refused, and 2 where there is nothing to
explain: no message, a file that cannot be read, a setting that is wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap

from ..common.codecs import CODECS, Codec
from ..common.config import Settings
from ..common.errors import SettingsError
from .explain import UNREADABLE, explain, read_address
from .explain_texts import ENGLISH, JAPANESE, Said, language_of
from .machine import this_machine
from .pasted import MOST_OCTETS
from .wiring import available_codecs

STANDARD_INPUT = "-"
WIDEST = 110
"""Columns of a line of text at most."""
HOW_TO_PASTE = {
    ENGLISH: "Paste the INVITE, then press Enter and Ctrl-D.",
    JAPANESE: "INVITE を貼り付けて、Enter と Ctrl-D を押してください。",
}


def explain_file(path: str, source: str) -> int:
    """Explain the message in the file ``path``, or in the standard input. Return the exit status.

    ``source`` is the address that the message has come from; empty where the message itself says it.
    """
    language = language_of(os.environ)
    try:
        if source:
            read_address(source)
        settings = Settings.from_environment(os.environ)
        data = _read(path, language)
    except KeyboardInterrupt:
        return UNREADABLE
    except (OSError, ValueError, SettingsError) as error:
        what = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(what, file=sys.stderr)
        return UNREADABLE
    explanation = explain(data, settings, _codecs(), this_machine(), source)
    _show(explanation.said, language)
    return explanation.status


def _read(path: str, language: int) -> bytes:
    """The text to explain; one octet more than the most, where there is more."""
    if path != STANDARD_INPUT:
        with open(path, "rb") as file:
            return file.read(MOST_OCTETS + 1)
    if sys.stdin is None:
        raise ValueError("There is no text to explain: standard input is closed")
    if sys.stdin.isatty():
        print(HOW_TO_PASTE[language], file=sys.stderr)
    return sys.stdin.buffer.read(MOST_OCTETS + 1)


def _codecs() -> tuple[Codec, ...]:
    """The codecs of this server; all, with a line about it, where its ffmpeg encodes none."""
    try:
        return available_codecs()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return CODECS


def _show(said: list[Said], language: int) -> None:
    """Print a paragraph for each sentence. Only for a terminal it is broken into lines."""
    columns = min(shutil.get_terminal_size().columns, WIDEST) if sys.stdout.isatty() else 0
    shown = []
    for sentence in said:
        text = sentence.text(language)
        if columns > 20 and language == ENGLISH:
            text = textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False)
        shown.append(f"{text}\n".encode(sys.stdout.encoding or "utf-8", "replace"))
    try:
        sys.stdout.buffer.write(b"".join(shown))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
