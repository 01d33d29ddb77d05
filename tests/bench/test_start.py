"""``bench.playing.start``: how long a start takes. End to end: it starts this server, and other programs."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

import pytest

from bench.common.program import ROOT
from bench.playing.methods import free_pairs
from bench.playing.start import NOTHING, Started, Way, command_of, measure, settings, table


def test_the_table_has_medians_ranges_and_ratios_of_the_same_round() -> None:
    measured = {
        NOTHING: [Started(10, 8), Started(20, 10), Started(40, 12)],
        "server": [Started(100, 80, 150), Started(100, 90, 160), Started(100, 96, 170)],
        "container": [Started(900, math.nan, 950)] * 3,
    }
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(measured).splitlines()]
    assert rows[2:] == [
        [NOTHING, "20 (10-40)", "", "10 (8-12)", "x 1.00 (1.00-1.00)", "x 1.00 (1.00-1.00)"],
        ["server", "100 (100-100)", "160 (150-170)", "90 (80-96)", "x 5.00 (2.50-10.00)", "x 9.00 (8.00-10.00)"],
        ["container", "900 (900-900)", "950 (950-950)", "", "x 45.00 (22.50-90.00)", ""],
    ]


def test_a_container_gets_its_settings_by_options() -> None:
    way = Way(["moh"], ROOT, container=True)
    command = command_of(way, settings(way, 5060, Path("/cache"), Path("/empty")))
    assert command[:2] == ["docker", "run"] and command[-1] == "moh"
    assert "--env=MOH_SIP_PORT=5060" in command


def test_modules_are_compiled_or_not_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in settings(Way([], ROOT), 5060, Path("/cache"), Path("/empty"))
    assert settings(Way([], ROOT, False), 5060, Path("/cache"), Path("/e"))["PYTHONPYCACHEPREFIX"] == "/e/compiled"


def test_a_program_that_is_no_server_is_measured_to_its_end(tmp_path: Path) -> None:
    started = measure(Way([sys.executable, "-c", "pass"], ROOT), 5060, tmp_path)
    assert started.answer > 0 and started.cpu > 0 and math.isnan(started.packet)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg: apt-get install ffmpeg")
def test_the_server_answers_and_then_plays(tmp_path: Path) -> None:
    started = measure(Way([sys.executable, "sip_server.py"], ROOT), free_pairs(27000, 12)[0], tmp_path)
    assert 0 < started.answer <= started.packet


def test_a_program_that_gives_no_music_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="gives no music: it is ill"):
        measure(Way([sys.executable, "-c", "print('it is ill')"], ROOT), free_pairs(27000, 1)[0], tmp_path)
