"""How much of one core the server and the ffmpegs of its calls take."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from moh.common.busy_at import NEVER, BusyAt
from moh.server.load import LoadMeter, processor_seconds


def test_the_share_is_that_of_the_last_ten_seconds() -> None:
    used = {7: 0.0, 8: 0.0}
    meter = LoadMeter(BusyAt(share=0.8), lambda: list(used), lambda pid: used[pid])
    meter.share(now=100.0)
    for second in range(1, 31):
        used[7] += 0.3
        used[8] += 0.5 if second > 20 else 0.0
        share = meter.share(now=100.0 + second)
        if second == 20:
            assert share == pytest.approx(0.3, abs=0.05)
    assert share == pytest.approx(0.8, abs=0.05)


def test_the_time_of_an_ffmpeg_that_has_ended_still_counts() -> None:
    used = {7: 1000.0}
    meter = LoadMeter(BusyAt(share=0.8), lambda: list(used), lambda pid: used[pid])
    meter.share(now=100.0)
    used[7] += 5.0
    meter.share(now=101.0)
    used.clear()
    assert meter.share(now=110.0) == pytest.approx(0.5, abs=0.05)
    used[7] = 1.0  # another process has its number
    assert meter.share(now=111.0) == pytest.approx(0.1, abs=0.05), "5 s are longer ago than ten seconds"


def test_a_process_that_is_no_ffmpeg_of_a_call_does_not_count_when_it_ends() -> None:
    meter = LoadMeter(BusyAt(share=0.8), list)
    meter.share(now=100.0)
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert meter.share(now=101.0) < 0.3


def test_the_meter_is_due_each_second_where_a_limit_is_set() -> None:
    assert not LoadMeter(NEVER, list).due(now=100.0)
    meter = LoadMeter(BusyAt(calls=5), list)
    assert meter.due(now=100.0)
    assert meter.share(now=100.0) == 0.0, "only the calls are limited"
    assert not meter.due(now=100.9)
    assert meter.due(now=101.0)


def test_the_time_of_a_process_is_read_from_the_kernel() -> None:
    assert processor_seconds(os.getpid()) == pytest.approx(sum(os.times()[:2]), abs=0.1)
    assert processor_seconds(2**22 + 1) == 0.0, "no process has this number"
