"""The table and the growth that ``bench/soak/soak.py`` computes from samples. End to end: a soak of 15 s."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.soak.sample import Sample
from bench.soak.soak import growth, table
from tests.support.running import ROOT

AT_REST = Sample(0.0, 29.0, 18.0, threads=13, descriptors=11, processes=0, ports=1, calls=0, by_ffmpeg=0, shared=0)


def samples(*private: float) -> list[Sample]:
    """Return one sample a minute, with these numbers of private memory."""
    return [AT_REST._replace(minute=float(at), private=size) for at, size in enumerate(private)]


def test_growth_is_measured_from_after_the_warm_up_to_the_end() -> None:
    assert growth(samples(10, 20, 30, 30, 30, 30.5), "private", 5.0, 2.0) == 0.5


def test_a_single_sample_that_stands_out_is_no_growth() -> None:
    # Without a warm-up, minutes 0 to 2 (a tenth of 30) are compared with minutes 27 to 30.
    assert growth(samples(*[20.0] * 28, 29.0, 20.0, 20.0), "private", 30.0, 0.0) == 0.0


def test_without_samples_the_growth_is_nan() -> None:
    assert not growth([], "private", 5.0, 2.0) < 1.0


def test_the_table_has_the_samples_and_the_growth() -> None:
    written = table(AT_REST, samples(10, 20, 35, 30), AT_REST, 3.0, 1.0)
    row = next(line for line in written.splitlines() if "private" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "private, MB", "18.00", "20.00", "30.00", "35.00", "18.00", "+10.00",
    ]  # fmt: skip


def test_a_short_soak_ends_at_rest() -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("needs Linux' /proc")
    options = ["--minutes", "0.25", "--calls", "20", "--longest", "5", "--every", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    # In 15 s growth means nothing. But nothing of the calls may be left.
    assert "at rest; expected" not in done.stdout, done.stdout
    assert "Growth after the first" in done.stdout, done.stdout + done.stderr
