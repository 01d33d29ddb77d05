"""The ffmpeg commands of a conversion: the files that they open, and the filters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from moh.mastering.filter_graphs import Analysis, analysis_command, downmix_command

ANALYSIS = Analysis((0.5, 0.5), -20.0, -3.0, -3.0, 60.0, None, soxr=True)
CURVES = [Path("sum"), Path("difference")]


def test_the_commands_never_ask_and_open_their_files_by_name_only() -> None:
    command = downmix_command(Path("/music/-y.mp3"), Path("/cache/-x.s16"), Path("/cache/-h.s16"), ANALYSIS, 0.0)
    assert "-nostdin" in command
    assert "-y" in command
    assert command[command.index("-i") + 1] == "file:/music/-y.mp3"
    assert "file:/cache/-x.s16" in command
    assert "file:/cache/-h.s16" in command


def test_soxr_resamples_if_ffmpeg_has_it() -> None:
    without = replace(ANALYSIS, soxr=False)
    assert "soxr" in " ".join(downmix_command(Path("a"), Path("b"), Path("c"), ANALYSIS, 0.0))
    assert "soxr" not in " ".join(downmix_command(Path("a"), Path("b"), Path("c"), without, 0.0))


def test_channels_without_known_places_are_shared_out_to_left_and_right() -> None:
    assert "stereo|c0=" in " ".join(analysis_command(Path("a"), CURVES, 12)).replace("\\", "")
    assert "stereo|c0=" not in " ".join(analysis_command(Path("a"), CURVES))
