"""Lines of the log: as text, and as JSON objects."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Optional

import pytest

from moh.common.actions import Address, Note
from moh.server.log_format import JsonFormatter, LineFormatter, complaint, line_formatter
from moh.server.message_log import Redacted
from tests.support.running import ROOT

SOURCE = Address("192.168.1.50", 5062)


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(text: str, *values: object, created: float = 0.25, level: int = logging.INFO) -> logging.LogRecord:
    made = logging.LogRecord("moh", level, "", 0, text, values, None)
    made.created, made.msecs = created, created % 1 * 1000
    return made


def shown(text: str, *values: object, level: int = logging.INFO) -> dict[str, Any]:
    line = JsonFormatter().format(record(text, *values, level=level))
    assert len(line.splitlines()) == 1 and line.isprintable()
    found: dict[str, Any] = json.loads(line)
    return found


# -- text --------------------------------------------------------------------------------------------------------------


def test_a_line_begins_with_the_local_time_to_the_millisecond_and_its_level(tokyo: None) -> None:
    """The second is formatted once, for all of its lines."""
    formatter = LineFormatter()
    created = (0.0, 0.25, 1.9996, 3600.5, 1.0)
    shown = [formatter.format(record("the call of %s begins", "ann", created=each)) for each in created]
    times = ["09:00:00,000", "09:00:00,250", "09:00:01,999", "10:00:00,500", "09:00:01,000"]
    assert shown == [f"1970-01-01 {each} INFO    the call of ann begins" for each in times]


def test_a_note_of_the_core_shows_its_call_and_its_text() -> None:
    note = Note(logging.INFO, "0123456789abcdef", "the call begins", SOURCE)
    assert LineFormatter().format(record("%s", note)).endswith(" INFO    [01234567] the call begins")
    assert LineFormatter().format(record("%s", Note(logging.INFO, "", "x"))).endswith(" INFO    x")


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_the_form_is_chosen_by_the_setting() -> None:
    assert isinstance(line_formatter("text"), LineFormatter) and isinstance(line_formatter("json"), JsonFormatter)


def test_an_object_has_the_time_with_its_offset_the_level_and_the_message(tokyo: None) -> None:
    assert shown("the call of %s begins", "ann", level=logging.WARNING) == {
        "time": "1970-01-01T09:00:00.250+09:00", "level": "warning", "message": "the call of ann begins",
    }  # fmt: skip


def test_a_line_of_a_call_has_its_number_and_its_source() -> None:
    found = shown("%s", Note(logging.INFO, "0123456789abcdef", "the call begins", SOURCE))
    assert (found["message"], found["call"], found["source"]) == ("the call begins", "01234567", "192.168.1.50:5062")
    assert shown("%s", "[89abcdef] answered 3 s ago")["call"] == "89abcdef", "the list of calls"
    assert shown("[%s] = ffmpeg", "89abcdef01234567")["call"] == "89abcdef"
    assert "call" not in shown("%s", Note(logging.INFO, "", "[no number] x"))


@pytest.mark.parametrize(
    ("text", "values", "source"),
    [
        ("rejected a datagram from %s: %s", ("192.0.2.9", "not in MOH_ALLOW"), "192.0.2.9"),
        ("100%% sure, %d times from %s", (2, "192.0.2.9"), "192.0.2.9"),
        ("could not send to %s: %s", ("192.0.2.9", "why"), None),
        ("%s", ("a text from %s",), None),
    ],
)
def test_the_source_is_the_value_that_the_line_names(
    text: str, values: tuple[object, ...], source: Optional[str]
) -> None:
    assert shown(text, *values).get("source") == source


def test_a_sip_message_is_a_member_of_its_own() -> None:
    message = Redacted(b"OPTIONS sip:a SIP/2.0\r\nTo: \x1b[2J\xff\r\n\r\n")
    found = shown("< from %s by %s%s", SOURCE, "UDP", message, level=logging.DEBUG)
    assert found["message"] == "< from 192.168.1.50:5062 by UDP" and found["source"] == "192.168.1.50:5062"
    assert found["sip"].startswith("OPTIONS sip:a SIP/2.0\n'To: ") and "\x1b" not in found["sip"]


def test_an_exception_is_a_member_of_its_own() -> None:
    made = record("unexpected error in %s", "the test")
    try:
        raise LookupError("a plain bug: \ud800 \x00 \u2028")
    except LookupError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    line = JsonFormatter().format(made)
    assert line.isprintable() and line.isascii()
    found = json.loads(line)
    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert found["message"] == "unexpected error in the test"


@pytest.mark.parametrize(
    "text", ["\0", "\x85", "\u2028\u2029", "\u202e", "\ud800", "\U000e0001", '"\\', "\r\n", "\x7f", "\ufeff"]
)
def test_no_text_makes_a_second_line_or_controls_the_terminal(text: str) -> None:
    line = JsonFormatter().format(record("%s", f"a{text}b"))
    assert line.isprintable() and len(line.splitlines()) == 1
    line.encode("utf-8")
    found = json.loads(line)["message"]
    assert found == (f"a{text}b" if text != "\ud800" else "a\\ud800b")


def test_japanese_stays_readable() -> None:
    assert "保留音.mp3" in JsonFormatter().format(record("music: %s", "保留音.mp3"))


@pytest.mark.parametrize(("text", "values"), [("%d", ("x",)), ("%s %s", ("x",)), ("from %s", ())])
def test_a_line_that_cannot_be_formatted_is_an_object(text: str, values: tuple[object, ...]) -> None:
    assert "message" in shown(text, *values)


def test_values_that_fail_when_they_are_shown_cost_their_line_only() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

    assert shown("%s", Broken())["message"].startswith("a line of the log could not be formatted: '%s': ValueError")


def test_a_line_of_the_standard_error_follows_the_setting() -> None:
    assert complaint("MOH_LOG is 'loud'", {"MOH_LOG_FORMAT": "text"}) == "MOH_LOG is 'loud'"
    assert complaint("MOH_LOG is 'loud'", {"MOH_LOG_FORMAT": "xml"}) == "MOH_LOG is 'loud'"
    found = json.loads(complaint("100% MOH_LOG is 'loud'", {"MOH_LOG_FORMAT": " JSON "}))
    assert (found["message"], found["level"]) == ("100% MOH_LOG is 'loud'", "error")


@pytest.mark.parametrize("where", ["raise LookupError('a plain bug')", "Thread(target=lambda: 1 / 0).start()"])
def test_an_exception_that_nothing_catches_is_an_object(where: str) -> None:
    program = (
        "from threading import Thread; from moh.server.log_format import show_uncaught_as_json\n"
        f"show_uncaught_as_json(); {where}"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    (line,) = ran.stderr.splitlines()
    found = json.loads(line)
    assert found["message"].startswith("unexpected error: ") and "Traceback" in found["exception"]
