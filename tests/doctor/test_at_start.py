"""The doctor's part of a start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from moh.common.config import Settings
from moh.doctor import at_start
from moh.doctor.at_start import examine_at_start, lines_of, once
from moh.doctor.finding import finding
from tests.support.running import ROOT

STATE = {"pid": 0, "uri": "", "music": None}


def test_what_the_start_has_logged_is_not_logged_again() -> None:
    found = [
        finding("music-missing", name="m.mp3"), finding("limits", calls=50),
        finding("bind-loopback", address="127.0.0.1"),
        finding("address-loopback", address="127.0.0.1"), finding("disk-low", folder="/c", free="1 MB", needed="9 MB"),
    ]  # fmt: skip
    lines = lines_of(found)
    assert [line.partition(",")[0] for line in lines] == [
        "Callers are told the address 127.0.0.1",
        "The disk of the folder /c has 1 MB free; new music of that length needs 9 MB. Make room on that disk",
    ]


def test_the_container_of_a_server_on_loopback_needs_no_published_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_start, "own_addresses", lambda: ["172.17.0.2"])
    monkeypatch.setattr(at_start, "is_behind_a_bridge", lambda host: True)
    monkeypatch.setattr(
        at_start, "published_findings", lambda settings, runs: [finding("rtp-unknown", first=1, last=2)]
    )
    for bind, published in (("0.0.0.0", True), ("127.0.0.1", False)):
        settings = Settings.from_environment({"MOH_BIND": bind})
        assert any(each.id == "rtp-unknown" for each in examine_at_start(settings, STATE)) is published


def test_two_checks_that_find_the_same_say_it_once() -> None:
    twice = [finding("disk-full", free="1 MB"), finding("disk-full", free="2 MB"), *2 * [finding("refused")]]
    assert [each.id for each in once(twice)] == ["disk-full", "refused", "refused"]
    assert once(twice)[0].values == {"free": "1 MB"}


def test_the_check_at_the_start_does_not_import_the_phone() -> None:
    """To compile it holds the interpreter: packets would be late."""
    code = "import sys, moh.doctor.at_start, moh.doctor.texts; print('test_sip_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
