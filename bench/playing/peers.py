"""Whole servers as engines of ``bench.playing.engines``: ours; baresip and rtpengine, as Debian has them.

Each is started with settings of its own, on the leash like all others, and is told by ``bench.playing.dial`` whom to
play to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Container
from pathlib import Path
from typing import Optional

from bench.common.processes import children, end
from bench.common.program import SCRIPT
from bench.playing import baresip
from bench.playing.crowds import Crowd, One
from bench.playing.places import Place
from moh.common.codecs import PCMU
from moh.ffmpeg.launch import leash
from moh.mastering.prepare import BUILTIN, Music

RTP_PORTS = (29000, 32766)
"""The least and the greatest that the music may leave from: none of the callers', none that the system gives away."""
START = 10.0
"""Seconds that go by before measuring begins, at the most: the calls, and until all is calm."""
LONG = 3600
"""Seconds until rtpengine ends a call of whose listener it hears nothing."""


class Peer(One):
    """A server that ``bench.playing.dial`` calls for the crowd; its files are in ``folder``."""

    def __init__(self, music: Music, folder: Path) -> None:
        super().__init__()
        self._music = music
        self._folder = folder
        self._port = 0
        self._server: Optional[subprocess.Popen[bytes]] = None
        self._said = ""

    def lacks(self, seconds: float) -> str:
        """Why it cannot be measured for ``seconds`` here, in a few words; empty where it can."""
        raise NotImplementedError

    def serve(self, place: Place) -> list[str]:
        """The words of the server's command, for ``self._port``."""
        raise NotImplementedError

    def line(self) -> tuple[str, list[str]]:
        """How ``bench.playing.dial`` calls it, and what else it has to know for that."""
        return "sip", []

    def command(self, place: Place, callers: int, port: int) -> list[str]:
        """See ``One``."""
        kind, more = self.line()
        to = [place.local, str(self._port), place.first, str(callers), str(port)]
        return [sys.executable, "-m", "bench.playing.dial", kind, *to, *more]

    def open(self, place: Place, callers: int, port: int) -> None:
        """See ``Crowd``."""
        self._port = place.senders(1)[0]
        words = [*leash(os.getpid()), *place.prefix, *self.serve(place)]
        log = self._folder / f"{type(self).__name__}.log"
        with log.open("wb") as file:
            self._server = subprocess.Popen(
                words, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        try:
            super().open(place, callers, port)
        except RuntimeError as error:
            said = log.read_text(errors="replace")[-300:]
            raise RuntimeError(f"does not answer: {' '.join(words)}: {said}") from error

    def begin(self) -> None:
        """See ``Crowd``; all calls have been answered when this is over."""
        super().begin()
        assert self._process is not None and self._process.stdout is not None
        self._said = self._process.stdout.readline().strip()

    def players(self) -> list[int]:
        """See ``Crowd``."""
        return [self._server.pid] if self._server and self._server.poll() is None else []

    def finish(self) -> str:
        """See ``Crowd``."""
        super().finish()
        if self._server is not None:
            end([self._server])
            self._server = None
        return self._said


class Baresip(Peer):
    """One process of baresip, with one account: that takes 255 calls. ``aufile`` plays the music once to each."""

    def lacks(self, seconds: float) -> str:
        """See ``Peer``."""
        if not baresip.is_here():
            return "not installed (Debian's package baresip-core)"
        if seconds + START > self._music.seconds:
            return f"it plays the music of {self._music.seconds:.0f} s once, and hangs up before all is measured"
        return ""

    def serve(self, place: Place) -> list[str]:
        """See ``Peer``."""
        (home := self._folder / "baresip").mkdir(exist_ok=True)
        music = self._music.paths[PCMU.sample_rate]
        return baresip.configure(home, (place.local, self._port), music, "123", range(*RTP_PORTS))


class Moh(Peer):
    """Our own server, as one starts it: the first callers have an ffmpeg each, all others share the stream."""

    ffmpegs = 50
    """MOH_FFMPEG_CALLS."""

    def lacks(self, seconds: float) -> str:
        """See ``Peer``."""
        return ""

    def serve(self, place: Place) -> list[str]:
        """See ``Peer``."""
        least = RTP_PORTS[0]
        settings = {
            "MOH_BIND": place.local, "MOH_SIP_PORT": self._port, "MOH_RTP_PORTS": f"{least}-{least + 100}",
            "MOH_FFMPEG_CALLS": self.ffmpegs, "MOH_CACHE": self._folder, "MOH_MUSIC": BUILTIN, "MOH_LOG": "warning",
        }  # fmt: skip
        words = [f"{name}={value}" for name, value in settings.items()]
        return ["env", *words, sys.executable, str(SCRIPT)]

    def players(self) -> list[int]:
        """See ``Crowd``: the server and its ffmpegs."""
        return [pid for server in super().players() for pid in (server, *children(server))]


class MohShared(Moh):
    """The same, where all share the stream."""

    ffmpegs = 0


class Rtpengine(Peer):
    """One process of rtpengine without its kernel module, which plays a file to each call, over and over.

    Of a WAV, which it reads by 4096 octets, 10.5 sends bursts: packets 10 ms apart, then a gap of 0.12 s (of s16) or
    0.26 s (of µ-law). So it gets what it does best with: µ-law in frames of 20 ms, in a Matroska file.
    """

    def lacks(self, seconds: float) -> str:
        """See ``Peer``."""
        if not shutil.which("rtpengine"):
            return "not installed (Debian's package rtpengine-daemon)"
        words = ["-i", str(self._music.paths[PCMU.sample_rate]), "-af", "asetnsamples=n=160:p=0"]
        words = ["ffmpeg", "-nostdin", "-v", "error", "-y", *words, "-c:a", PCMU.encoder, str(self._file)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return f"ffmpeg does not make its file: {done.stderr.strip()[-200:]}" if done.returncode else ""

    @property
    def _file(self) -> Path:
        return self._folder / "rtpengine.mka"

    def line(self) -> tuple[str, list[str]]:
        """See ``Peer``."""
        return "ng", [str(self._file)]

    def serve(self, place: Place) -> list[str]:
        """See ``Peer``."""
        return [
            "rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--config-file=none", "--table=-1",
            f"--interface={place.local}", f"--listen-ng={place.local}:{self._port}", f"--port-min={RTP_PORTS[0]}",
            f"--port-max={RTP_PORTS[1]}", "--tos=184", f"--timeout={LONG}", f"--silent-timeout={LONG}",
        ]  # fmt: skip


def peers(names: Container[str], music: Music, folder: Path, seconds: float) -> dict[str, Crowd]:
    """Those of ``names`` that can be measured here for ``seconds``; of each other a line on standard error says why."""
    found: dict[str, Crowd] = {}
    every: dict[str, Peer] = {
        "server": Moh(music, folder), "server shared": MohShared(music, folder),
        "baresip": Baresip(music, folder), "rtpengine": Rtpengine(music, folder),
    }  # fmt: skip
    for name, peer in every.items():
        if name not in names:
            continue
        if why := peer.lacks(seconds):
            print(f"Without {name}: {why}.", file=sys.stderr)
        else:
            found[name] = peer
    return found
