"""Prometheus' own tool (Debian: prometheus) on the metrics, on the configuration in ``deploy``, and on its alerts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from moh.http.metrics import render
from tests.http.counted import counted_state
from tests.support.peers import program

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"


def promtool(*arguments: str, given: bytes = b"") -> None:
    """Run promtool. It finds no fault."""
    command = [program("promtool", "prometheus"), *arguments]
    ran = subprocess.run(command, cwd=ROOT, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert ran.returncode == 0, ran.stdout.decode(errors="replace")


def test_promtool_finds_no_fault_in_the_metrics() -> None:
    promtool("check", "metrics", given=render(counted_state())[1])


def test_promtool_finds_no_fault_in_the_configuration_and_the_alerts() -> None:
    promtool("check", "config", str(CONFIG))
    promtool("check", "rules", str(CONFIG.with_name("alerts.yml")))


def test_the_alerts_are_raised_when_they_should_be() -> None:
    promtool("test", "rules", "tests/http/alerts_test.yml")
