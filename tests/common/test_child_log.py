"""The log of a process that the server has started."""

from __future__ import annotations

import logging

from moh.common.child_log import ChildFormatter


def test_a_text_of_several_lines_is_one_line_for_the_server() -> None:
    record = logging.makeLogRecord({"levelname": "ERROR", "msg": "one\ntwo"})
    assert ChildFormatter().format(record) == "ERROR one\rtwo"
