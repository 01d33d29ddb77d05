"""``python3 sip_server.py --check``: examine the set-up, and print the report.

``./start.sh --check`` and ``docker compose exec moh ./start.sh --check`` are the same.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from .. import __version__
from ..common.config import ON_HOST, Settings
from ..common.errors import SettingsError
from .examine import examine
from .finding import LEVELS, Finding, finding
from .report import in_order, language_of, lines
from .texts import as_data, level

BEGINS = {
    "en": "checking the set-up, with a test call if the server runs; this takes some seconds",
    "ja": "設定を診断しています。サーバーが動いていれば試しの通話もします。数秒かかります。",
}

UNPRINTED = 2
"""The exit status where the report cannot be printed."""


def run(as_json: bool) -> int:
    """Examine and print. Return 1 if there is an error, by which callers hear nothing or the wrong thing.

    Return 2 if the report cannot be printed.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the test call hangs up, as after Ctrl-C
    logging.getLogger("moh").addHandler(logging.NullHandler())  # the findings say what lines of the log would say
    language = language_of(os.environ)
    if sys.stdout is None:
        print("The report cannot be printed: standard output is closed", file=sys.stderr)
        return UNPRINTED
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    if sys.stderr.isatty() and not as_json:
        print(BEGINS[language], file=sys.stderr, flush=True)
    try:
        found = findings(os.environ)
    except KeyboardInterrupt:
        return 1
    try:
        print(as_text(found) if as_json else "\n".join(lines(found, language)), flush=True)
    except OSError as error:
        print(f"The report cannot be printed: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return UNPRINTED
    return int(worst(found) == "error")


def findings(environment: Mapping[str, str]) -> list[Finding]:
    """The findings for the settings in ``environment``; the one about the settings alone where these are wrong."""
    try:
        settings = Settings.from_environment(environment)
    except SettingsError as error:
        return [finding("settings-wrong", reason=error)]
    return examine(settings, values_of(environment))


def values_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings as the owner wrote them, as the state of the server has them."""
    values = {}
    for name, default, _ in Settings.table():
        given = environment.get(name, "").strip()
        if given and name in ON_HOST:
            given = environment.get(ON_HOST[name], "").strip() or given
        values[name] = given or default
    return values


def worst(found: Sequence[Finding]) -> str:
    """The level of the worst finding."""
    return min(map(level, found), key=LEVELS.index, default="ok")


def as_text(found: Sequence[Finding]) -> str:
    """The report as JSON, in both languages."""
    report = {"version": __version__, "worst": worst(found), "findings": [as_data(each) for each in in_order(found)]}
    return json.dumps(report, ensure_ascii=False, indent=2)
