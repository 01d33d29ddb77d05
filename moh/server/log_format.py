"""The form of a line of the log: text for people, or a JSON object (``MOH_LOG_FORMAT``)."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Optional

from ..common.actions import Note
from .message_log import Redacted

TEXT, JSON = "text", "json"
OF_CALL = re.compile(r"\[([0-9a-f]{8})(?:[0-9a-f]{8})?\] (.*)", re.DOTALL)
"""A line that belongs to a call: it begins with the first digits of the call's number."""
SOURCE = "from %s"
"""Where a template of a line has this, the value is the source of a message."""
NOT_ASCII = re.compile(r"[^ -~]")

log = logging.getLogger("moh")


def line_formatter(form: str) -> logging.Formatter:
    """The formatter for ``form``, one of ``TEXT`` and ``JSON``."""
    return JsonFormatter() if form == JSON else LineFormatter()


class LineFormatter(logging.Formatter):
    """Lines as ``2026-11-27 15:04:05,678 INFO    text``. The date and the second are formatted once for each second."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")
        self._second = -1
        self._shown = ""

    def formatTime(self, record: logging.LogRecord, datefmt: Optional[str] = None) -> str:
        """The time of ``record``, in local time, to the millisecond."""
        second = int(record.created)
        if second != self._second:
            self._second, self._shown = second, super().formatTime(record, self.default_time_format)
        return f"{self._shown},{int(record.msecs):03d}"


class JsonFormatter(logging.Formatter):
    """Lines that are JSON objects. The law kept here: each line is one, whatever a message or an exception holds.

    ``time`` is ISO 8601 with the offset of the local time, ``level`` one of ``debug``, ``info``, ``warning`` and
    ``error``, ``message`` the text. Where the line has one, ``call`` is the first digits of the call's number,
    ``source`` the address that a message came from, ``sip`` a SIP message, and ``exception`` a traceback.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._shown = ("", "")

    def formatTime(self, record: logging.LogRecord, datefmt: Optional[str] = None) -> str:
        """The time of ``record``, in local time, to the millisecond, as ``2026-11-27T15:04:05.678+09:00``."""
        second = int(record.created)
        if second != self._second:
            local = time.localtime(second)
            offset = time.strftime("%z", local)
            shown = time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{offset[:3]}:{offset[3:5]}"
            self._second, self._shown = second, shown
        return f"{self._shown[0]}.{int(record.msecs):03d}{self._shown[1]}"

    def format(self, record: logging.LogRecord) -> str:
        """The line for ``record``, without its end."""
        shown: dict[str, str] = {"time": self.formatTime(record), "level": record.levelname.lower()}
        try:
            shown.update(_contents(record))
        except Exception as error:
            shown["message"] = f"a line of the log could not be formatted: {record.msg!r}: {error!r}"
        if record.exc_info and record.exc_info[0] is not None:
            shown["exception"] = self.formatException(record.exc_info)
        return one_line(shown)


def _contents(record: logging.LogRecord) -> dict[str, str]:
    """The members of the object for ``record`` that come from its text and its values."""
    found: dict[str, str] = {}
    values = record.args if isinstance(record.args, tuple) else ()
    template = str(record.msg)
    messages = [value for value in values if isinstance(value, Redacted)]
    if messages:
        text = template % tuple("" if isinstance(value, Redacted) else value for value in values)
        found["sip"] = "\n".join(messages[0].lines)
    else:
        text = record.getMessage()
    source: object = None
    if values and SOURCE in template:
        source = values[template[: template.index(SOURCE)].replace("%%", "").count("%")]
    elif values and isinstance(values[0], Note):
        source = values[0].source
    if of_call := OF_CALL.fullmatch(text):
        found["call"], text = of_call.groups()
    if source is not None:
        found["source"] = str(source)
    return {"message": text, **found}


def one_line(members: Mapping[str, Any]) -> str:
    """The JSON object with ``members`` as one line of text that any program can read."""
    clean = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in members.items()}
    line = json.dumps(clean, ensure_ascii=False)
    # some characters would begin another line, or control a terminal
    return line if line.isprintable() else NOT_ASCII.sub(_escaped, line)


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


# -- lines that do not pass through the log ----------------------------------------------------------------------------


def complaint(text: str, environment: Mapping[str, str]) -> str:
    """A line for the standard error, in the form that ``environment`` asks for: the settings may not be read yet."""
    if environment.get("MOH_LOG_FORMAT", "").strip().lower() != JSON:
        return text
    return JsonFormatter().format(_record(text))


def show_uncaught_as_json() -> None:
    """Have an exception that ends a thread or the program printed as a JSON object."""

    def show(kind: type[BaseException], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        record = _record(f"unexpected error: {error!r}")
        if error is not None:
            record.exc_info = (kind, error, trace)
        print(JsonFormatter().format(record), file=sys.stderr, flush=True)

    def show_of_thread(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_type is not SystemExit:
            show(ended.exc_type, ended.exc_value, ended.exc_traceback)

    sys.excepthook = show
    threading.excepthook = show_of_thread


def _record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "moh", "levelname": "ERROR", "levelno": logging.ERROR, "msg": text})
