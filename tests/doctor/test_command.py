"""The doctor's command: its JSON, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from moh.common.config import ON_HOST
from moh.doctor import command
from moh.doctor.command import findings, run, values_of, worst
from moh.doctor.finding import Finding, finding
from tests.support.running import ROOT

NOTE, WARNING, ERROR = finding("calls-none", since="1 s", port=1), finding("server-stopped"), finding("ffmpeg-missing")
OK = finding("ffmpeg", codecs="PCMU")


@pytest.mark.parametrize(
    ("found", "level", "status"),
    [([OK], "ok", 0), ([OK, NOTE], "note", 0), ([NOTE, WARNING], "warning", 0), ([NOTE, ERROR, OK], "error", 1)],
)
def test_only_an_error_makes_the_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: list[Finding], level: str, status: int
) -> None:
    monkeypatch.setattr(command, "examine", lambda settings, values: found)
    monkeypatch.setattr(command, "findings", lambda environment: found)
    monkeypatch.setattr(command.signal, "signal", lambda number, handler: None)  # type: ignore[attr-defined]
    assert worst(found) == level
    assert run(as_json=True) == status
    report = json.loads(capsys.readouterr().out)
    assert report["worst"] == level and len(report["findings"]) == len(found)
    assert set(report["findings"][0]) == {"id", "level", "en", "ja"}
    assert run(as_json=False) == status
    assert capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("output", "why"), [(">/dev/full", "No space left on device"), (">&-", "standard output is closed")]
)
def test_a_report_that_cannot_be_printed_is_no_error_of_the_set_up(output: str, why: str) -> None:
    """End to end: a full disk, and a closed standard output."""
    program = "import sys; from moh.doctor.command import run; sys.exit(run(True))"
    ran = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {output}', sys.executable, program], cwd=ROOT, check=False,
        env={**os.environ, "MOH_SIP_PORT": "none"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (2, f"The report cannot be printed: {why}\n")


def test_wrong_settings_are_a_finding() -> None:
    (only,) = findings({"MOH_SIP_PORT": "5o60"})
    assert only.id == "settings-wrong"
    assert "MOH_SIP_PORT is '5o60'; expected" in only.values["reason"]


def test_the_settings_are_compared_as_the_owner_wrote_them() -> None:
    values = values_of({"MOH_MUSIC": "/music.mp3", ON_HOST["MOH_MUSIC"]: "./my.mp3", "MOH_SIP_PORT": " 5070 "})
    assert (values["MOH_MUSIC"], values["MOH_SIP_PORT"], values["MOH_BIND"]) == ("./my.mp3", "5070", "0.0.0.0")
