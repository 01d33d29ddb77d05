"""Short calls at a steady rate, made by SIPp (Debian's package sip-tester) like a PBX: all of them from one socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.common.messages import HostPort
from bench.common.processes import prefer
from moh.ffmpeg.launch import leash

SCENARIO = Path(__file__).with_name("rate.xml")
PATIENCE = 10.0
"""Seconds that the last calls may take to their end. Then SIPp is killed, and the calls that remain are failures. SIPp
writes its counts each second."""
BUFFER = 4 << 20
"""Octets of the buffers of SIPp's socket, so that it loses no answer while it has no processor."""


class Answer(NamedTuple):
    """One 200: when it came, and how long after its INVITE, both in milliseconds."""

    came: float
    took: float


class Calls(NamedTuple):
    """What SIPp counted. ``created`` calls were begun, ``successful`` calls went as ``rate.xml`` says."""

    created: int
    successful: int
    repeats: int
    """Requests that SIPp sent again, since no answer had come in time."""
    answers: list[Answer]
    errors: str
    """The end of what SIPp wrote to its standard error."""

    def offered(self) -> float:
        """Return how many calls SIPp really began a second, by the answered ones; nan if they are too few."""
        begun = [answer.came - answer.took for answer in self.answers]
        span = max(begun, default=0.0) - min(begun, default=0.0)
        return 1000 * (len(begun) - 1) / span if span else float("nan")


def make_calls(
    server: HostPort, host: str, ports: Sequence[int], rate: int, seconds: float, call: float, nice: int, folder: Path
) -> Calls:
    """Make ``rate`` calls a second for ``seconds``, each ``call`` seconds long, from ``host``.

    The music of the calls goes to the ``ports`` of ``host`` in turn. Raises ``RuntimeError`` if there is no SIPp.
    """
    if not shutil.which("sipp"):
        raise RuntimeError("this needs SIPp (Debian's package sip-tester)")
    (folder / "media.csv").write_text("\n".join(["SEQUENTIAL", *(f"{host};{port};" for port in ports)]) + "\n")
    for old in [*folder.glob("rate_*_rtt.csv"), *folder.glob("counts.csv")]:
        old.unlink()
    command = [
        *leash(os.getpid()), "sipp", f"{server[0]}:{server[1]}", "-sf", str(SCENARIO), "-inf", "media.csv", "-i", host,
        "-nostdin", "-buff_size", str(BUFFER), "-m", str(round(rate * seconds)), "-r", str(rate), "-l", str(rate * 40),
        "-d", str(round(1000 * call)),
        "-trace_stat", "-stf", "counts.csv", "-fd", "1", "-trace_rtt", "-rtt_freq", "1",
    ]  # fmt: skip
    sipp = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    errors = ""
    try:
        if nice:
            prefer([sipp.pid], nice)
        with contextlib.suppress(subprocess.TimeoutExpired):
            errors = sipp.communicate(timeout=seconds + call + PATIENCE)[1][-500:]
    finally:
        sipp.kill()
        sipp.wait()
    if not (folder / "counts.csv").exists():
        raise RuntimeError(f"SIPp makes no calls: {errors}")
    written = [file.read_text() for file in folder.glob("rate_*_rtt.csv")]
    counts = read_counts((folder / "counts.csv").read_text())
    return Calls(*counts, [answer for table in written for answer in read_answers(table)], errors)


def read_counts(table: str) -> tuple[int, int, int]:
    """Return ``created``, ``successful`` and ``repeats`` of ``Calls``, from the table that ``-trace_stat`` writes."""
    names, *_, last = table.splitlines()
    counts = dict(zip(names.split(";"), last.split(";")))
    return int(counts["TotalCallCreated"]), int(counts["SuccessfulCall(C)"]), int(counts["Retransmissions(C)"])


def read_answers(table: str) -> list[Answer]:
    """Return the answers in the table that ``-trace_rtt`` writes."""
    rows = (line.split(";") for line in table.splitlines())
    return [Answer(float(row[0]), float(row[1])) for row in rows if len(row) > 2 and row[0][:1].isdigit()]
