"""Kamailio (Debian's package kamailio) as a process of a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.peers import program
from tests.support.running import TEST_TIMEOUT, Address, wait_for


class Kamailio:
    """A proxy that runs ``configuration`` in ``folder``, and listens on ``address`` by UDP and TCP.

    ``defined`` are names that the configuration asks for, as ``NAME`` or ``NAME=VALUE``.
    """

    def __init__(self, folder: Path, configuration: Path, address: Address, *defined: str) -> None:
        self.folder, self.address = folder, address
        self.log = folder / "kamailio.log"
        command = [
            program("kamailio", "kamailio"), "-f", str(configuration), "-DD", "-E", "-m", "32", "-M", "4",
            "-Y", str(folder), "-P", str(folder / "kamailio.pid"), *(word for name in defined for word in ("-A", name)),
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: self._listens() or self.process.poll() is not None, "Kamailio", 2 * TEST_TIMEOUT)
        assert self.process.poll() is None, self.log.read_text(errors="replace")

    def _listens(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(self.address) == 0

    def command(self, *words: str) -> str:
        """Return what the command ``kamcmd`` prints."""
        kamcmd = program("kamcmd", "kamailio")
        command = [kamcmd, "-s", f"unix:{self.folder / 'kamailio_ctl'}", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=TEST_TIMEOUT).stdout

    def __enter__(self) -> Kamailio:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(TEST_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # ends the children of Kamailio, too
            self.process.wait()
