"""End to end: a real Icecast, and ffmpeg as its source. Skipped where Icecast is missing."""

from __future__ import annotations

import base64
import os
import pwd
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest

from bench.common.silence import longest_silence
from tests.radio.running import Listener, Radios, fallback
from tests.radio.stations import HOST, PORTS, music
from tests.support.peers import program
from tests.support.running import wait_for

CONFIGURATION = """<icecast>
<limits><sources>2</sources><burst-size>65536</burst-size></limits>
<authentication><source-password>secret</source-password><admin-user>admin</admin-user>
<admin-password>secret</admin-password></authentication>
<hostname>{host}</hostname>
<listen-socket><port>{port}</port><bind-address>{host}</bind-address></listen-socket>
<paths><basedir>/usr/share/icecast2</basedir><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>
<adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>-</accesslog><errorlog>-</errorlog></logging>
<security><chroot>0</chroot>{owner}</security>
</icecast>"""
MOUNT = "/jazz.mp3"


def free_port() -> int:
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)):
                return port
    raise AssertionError("no free port")


class Icecast:
    """Icecast on the loopback, with a source that may come and go."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        owner = ""
        if os.geteuid() == 0:  # Icecast does not run as root
            user = pwd.getpwnam("nobody")
            owner = f"<changeowner><user>{user.pw_name}</user><group>nogroup</group></changeowner>"
        file = folder / "icecast.xml"
        file.write_text(CONFIGURATION.format(host=HOST, port=self.port, folder=folder, owner=owner))
        command = [program("icecast2", "icecast2"), "-c", str(file)]
        with (folder / "icecast.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: socket.socket().connect_ex((HOST, self.port)) == 0, "Icecast")
        self._music = folder / "music.mp3"
        self._music.write_bytes(music(20))
        self._source: Optional[subprocess.Popen[bytes]] = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}{MOUNT}"

    def begin(self) -> None:
        """Let the source send."""
        target = f"icecast://source:secret@{HOST}:{self.port}{MOUNT}"
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", str(self._music)]
        command += ["-c", "copy", "-content_type", "audio/mpeg", "-f", "mp3", target]
        self._source = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(lambda: MOUNT in self._admin("/admin/listmounts"), "the source")

    def end(self) -> None:
        """Kill the source."""
        if self._source is not None:
            self._source.kill()
            self._source.wait()

    def set_title(self, title: str) -> None:
        self._admin(f"/admin/metadata?mount={MOUNT}&mode=updinfo&song={title}")

    def close(self) -> None:
        self.end()
        self.process.kill()
        self.process.wait()

    def _admin(self, path: str) -> str:
        request = urllib.request.Request(f"http://{HOST}:{self.port}{path}")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"admin:secret").decode())
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())


@pytest.fixture
def icecast(tmp_path: Path) -> Iterator[Icecast]:
    started = Icecast(tmp_path)
    yield started
    started.close()


def test_a_mount_of_icecast_ends_and_begins_again(icecast: Icecast, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    shorter = (
        "import moh.radio.tuner, moh.radio.programme as p; moh.radio.tuner.LONGEST_PAUSE = 2.0; p.LOW = 13 * p.FRAMES"
    )
    icecast.begin()
    with Radios(tmp_path / "cache", shorter) as radios:
        radios.play("jazz", [f"{icecast.url}.m3u"], fallback(tmp_path))  # the list that Icecast offers for each mount
        listener = Listener(radios.wait(what="ring"), ahead=12.0)
        radios.wait(state="plays")
        icecast.set_title("A%20song")
        radios.wait(title="A song")
        icecast.end()
        report = radios.wait(state="away", seconds=40)
        assert report["why"].startswith("the address answers 404 ")
        icecast.begin()
        radios.wait(state="plays", seconds=40)
        assert longest_silence(listener.listen(3), 8000) < 100
        radios.close()
