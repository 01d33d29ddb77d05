"""Foreign programs as phones (SIPp, and programs in a terminal), and measurements of the music that they received."""

from __future__ import annotations

import array
import itertools
import math
import os
import pty
import secrets
import select
import shutil
import socket
import subprocess
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.phone import Ear, Packet
from tests.support.running import TEST_TIMEOUT, Address, Running, free_ports, wait_for

SCENARIOS = Path(__file__).parent.parent / "interop" / "sipp"
HOST = "127.0.0.1"


def program(name: str, package: str) -> str:
    """Return the path of the program ``name``. Skips the test if it is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"{name.upper()} IS MISSING, so it has not tested the server: apt-get install {package}")
    return found


class Sipp:
    """SIPp as a phone with one call. If its scenario waits for a MESSAGE, ``go_on`` sends it.

    ``keys`` replace the words in brackets in the scenario: an ear ``ann`` replaces ``[ann]`` and ``[ann_port]``.
    """

    def __init__(
        self, scenario: str, server: Address, folder: Path, transport: str = "u1", **keys: Ear | str | int
    ) -> None:
        self.folder, self.address = folder, (HOST, free_ports(1))
        self.call_id = secrets.token_hex(8)
        command = [
            program("sipp", "sip-tester"), f"{server[0]}:{server[1]}", "-sf", str(SCENARIOS / f"{scenario}.xml"),
            "-t", transport, "-i", HOST, "-p", str(self.address[1]), "-mp", str(free_ports(4)), "-nostdin", "-m", "1",
            "-cid_str", self.call_id, "-timeout", "30s", "-timeout_error", "-trace_err", "-error_file", "errors.log",
            "-trace_msg", "-message_file", "messages.log",
        ]  # fmt: skip
        for name, value in keys.items():
            if isinstance(value, Ear):
                command += ["-key", name, value.address[0], "-key", f"{name}_port", str(value.address[1])]
            else:
                command += ["-key", name, str(value)]
        with (folder / "sipp.out").open("wb") as out:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def go_on(self) -> None:
        """Send SIPp the MESSAGE that its scenario waits for, with the Call-ID of its call."""
        host, port = self.address
        lines = [
            f"MESSAGE sip:201@{host}:{port} SIP/2.0", f"Via: SIP/2.0/UDP {host}:9;branch=z9hG4bK{secrets.token_hex(8)}",
            f"From: <sip:test@{host}>", f"To: <sip:201@{host}>", f"Call-ID: {self.call_id}", "CSeq: 1 MESSAGE",
            "Content-Length: 0",
        ]  # fmt: skip
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), self.address)

    def finishes(self) -> str:
        """Wait until the scenario has succeeded. Return all messages of the call."""
        status = self.process.wait(3 * TEST_TIMEOUT)
        logs = [self.folder / name for name in ("errors.log", "sipp.out", "messages.log")]
        assert status == 0, "\n".join(file.read_text(errors="replace") for file in logs if file.exists())
        return logs[-1].read_text(errors="replace")

    def __enter__(self) -> Sipp:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def run_sipp(
    scenario: str,
    server: Running,
    receivers: Sequence[Address],
    folder: Path,
    calls: int,
    rate: int = 10,
    users: Sequence[str] = (),
) -> dict[str, int]:
    """Run a scenario. Each call has the next of the receivers, and of the ``users``. Return SIPp's last counts."""
    dialled = itertools.cycle(users or [""])
    lines = ["SEQUENTIAL", *(f"{host};{port};{user};" for (host, port), user in zip(receivers, dialled))]
    (folder / "receivers.csv").write_text("\n".join(lines) + "\n")
    command = [
        program("sipp", "sip-tester"), f"{HOST}:{server.port}", "-sf", str(SCENARIOS / f"{scenario}.xml"),
        "-inf", "receivers.csv", "-i", HOST, "-p", str(free_ports(1)), "-mp", str(free_ports(4)), "-nostdin",
        "-m", str(calls), "-r", str(rate), "-timeout", "30s", "-timeout_error",
        "-trace_err", "-error_file", "errors.log", "-trace_stat", "-stf", "counts.csv",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    errors = folder / "errors.log"
    assert ran.returncode == 0, ran.stderr + (errors.read_text() if errors.exists() else "")
    names, *_, last = (folder / "counts.csv").read_text().splitlines()
    counts = dict(zip(names.split(";"), last.split(";")))
    return {name: int(counts[f"{name}(C)"]) for name in ("SuccessfulCall", "FailedCall", "Retransmissions")}


class Terminal:
    """A program that reads commands from a terminal."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        try:
            self.process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **environment}, stdin=slave, stdout=slave, stderr=slave,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(slave)
        self._output = b""

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    @property
    def said(self) -> str:
        """Return all that the program has written until now."""
        while select.select([self._master], [], [], 0)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program has ended
                break
            if not data:
                break
            self._output += data
        return self._output.decode(errors="replace")

    def says(self, text: str) -> None:
        """Wait until the program has written ``text``."""
        try:
            wait_for(lambda: text in self.said or self.process.poll() is not None, text, 3 * TEST_TIMEOUT)
        except AssertionError:
            pass  # the assertion below shows what the program has written instead
        assert text in self.said, self.said[-5000:]

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


# -- the received music --------------------------------------------------------------------------------------------


def loudness(recording: Path) -> float:
    """Return the root mean square of a WAV file of 16 bits, from 0 to 32767; 0 while the file is empty."""
    try:
        with wave.open(str(recording), "rb") as wav:
            samples = array.array("h", wav.readframes(wav.getnframes()))
    except (OSError, wave.Error, EOFError):
        return 0.0
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples)) if samples else 0.0


def sound(packets: Sequence[Packet]) -> list[int]:
    """Return the samples in packets of PCMU (ITU-T G.711, table 2a)."""
    samples = []
    for octet in b"".join(packet.payload for packet in packets):
        octet ^= 0xFF
        value = ((((octet & 15) << 3) + 132) << (octet >> 4 & 7)) - 132
        samples.append(-value if octet & 128 else value)
    return samples


LOWEST, RISE = 300.0, 50.0
"""The pitch of the rising tune at its beginning in Hz, and its rise each second. The pitch shows the position."""


def write_rising_tune(file: Path, seconds: int = 40) -> None:
    turns = ((LOWEST + RISE * t / 2) * t for t in (n / 8000 for n in range(8000 * seconds)))
    samples = array.array("h", (round(8000 * math.sin(2 * math.pi * turn)) for turn in turns))
    with wave.open(str(file), "wb") as tune:
        tune.setnchannels(1)
        tune.setsampwidth(2)
        tune.setframerate(8000)
        tune.writeframes(samples.tobytes())


def position(packets: Sequence[Packet]) -> float:
    """Return the position of the middle of ``packets`` in the rising tune, in seconds, from the zero crossings."""
    samples = sound(packets)
    crossings = sum((one < 0) != (other < 0) for one, other in zip(samples, samples[1:]))
    return (crossings / 2 / (len(samples) / 8000) - LOWEST) / RISE
