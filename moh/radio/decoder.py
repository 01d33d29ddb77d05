"""One ffmpeg for each connection of a radio: it reads what the station sends from a pipe, and writes both sample rates.

The law kept here: this ffmpeg has no access to the network, nor to any file. The one protocol that it may open is
``pipe``; what is fetched, and from where, is decided in ``http_client``.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import ffmpeg

from ..ffmpeg.launch import DATA_LIMIT_MB, leash
from ..ffmpeg.run import LOG_OPTIONS, first_error
from ..mastering.filter_graphs import in_band
from ..mastering.formats import FORMATS
from ..mastering.loudness import PEAK
from .live_buffer import LiveBuffer
from .samples import RATES

ALLOWED = ",".join((*FORMATS, "mpegts"))
"""The value of ffmpeg's option ``format_whitelist``: the formats of music files, and that of HLS."""
PROBED = 32768
"""Octets of a stream that ffmpeg reads at most before it decides what they are: 2 s at the usual 128 kbit/s."""
PROBED_OF_SEGMENTS = 1 << 20
"""The same for HLS, whose segments come as fast as the network carries them."""
FRAME, WINDOW = 500, 15
"""The gain of the loudness filter is averaged over so many frames, each of so many milliseconds: 7.5 s. The filter
knows the next half of that, so the gain changes before the music does, and slowly enough that nothing pumps."""
SHORTEST = 8
"""Seconds to which shorter music is filled up with silence: ffmpeg 5.1 crashes at the end of some that lasts less than
half a window."""
MOST_GAIN = 30
"""The highest gain as a factor: 29.5 dB."""
RMS_BELOW = -1.0
"""dB by which the loudness filter's target is above the loudness in LUFS of music that it makes, as measured."""
F_SETPIPE_SZ = 1031
"""The number in ``fcntl.h``, for which ``fcntl`` has a name since Python 3.10."""
LARGE_PIPE = 1 << 20
"""Octets that the kernel keeps of the decoder's output, if it permits so much; usually it keeps 64 KB."""
MOST_PRINTED = 8192
"""Octets of ffmpeg's messages that are kept."""
END_TIMEOUT = 5.0
"""Seconds without sound after which an ffmpeg is killed that gets no more input."""
MOST_UNHEARD = 1 << 16
"""Octets that are kept for another decoder."""
PATIENCE = 0.25
"""Seconds between two checks of ffmpeg while it takes no input."""
STUCK = 10.0
"""Seconds after which an ffmpeg that takes no input, though there is room for its output, counts as stuck."""


class DecoderFailed(Exception):
    """ffmpeg decodes nothing more. The text says why."""


def decoder_command(outputs: Mapping[int, int], loudness: Optional[float], segments: bool) -> list[str]:
    """The command that decodes its standard input, and writes each sample rate to a descriptor in ``outputs``."""
    source = ffmpeg.input(
        "pipe:0",
        protocol_whitelist="pipe",
        format_whitelist=ALLOWED,
        probesize=PROBED_OF_SEGMENTS if segments else PROBED,
        analyzeduration=1000000,
        threads=1,
    )
    each = source["a:0"].filter("aformat", channel_layouts="mono").filter_multi_output("asplit", len(outputs))
    written = []
    for i, (rate, descriptor) in enumerate(sorted(outputs.items())):
        sound = _levelled(in_band(each[i].filter("aresample", rate), rate), loudness)
        sound = sound.filter("aformat", sample_fmts="s16").filter("asetnsamples", n=rate // 5, p=0)
        written.append(sound.output(f"pipe:{descriptor}", f="s16le", acodec="pcm_s16le", ar=rate, flush_packets=1))
    command: list[str] = (
        ffmpeg.merge_outputs(*written)
        .global_args(*LOG_OPTIONS, "-filter_threads", "1", "-filter_complex_threads", "1")
        .compile()
    )
    return command


def _levelled(sound: Any, loudness: Optional[float]) -> Any:
    """Bring the sound to ``loudness``, and limit its peaks. With ``None`` it stays as loud as it is."""
    if loudness is not None:
        target = 10 ** ((loudness - RMS_BELOW) / 20)
        sound = sound.filter("apad", whole_dur=SHORTEST)
        sound = sound.filter("dynaudnorm", f=FRAME, g=WINDOW, m=MOST_GAIN, r=f"{target:.4f}", p=0.9, b=1)
    ceiling = PEAK - 0.5 if loudness is not None else -1.0
    return sound.filter("alimiter", limit=f"{10 ** (ceiling / 20):.6f}", attack=5, release=80, level=0)


class Decoder:
    """One ffmpeg. The thread that makes this object feeds it; another thread calls ``pump``, which fills ``buffer``.

    The thread that makes this object has to live as long as the ffmpeg, which the kernel kills with it.
    """

    def __init__(self, loudness: Optional[float], segments: bool = False) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            raise DecoderFailed("ffmpeg does not run; expected it on the PATH")
        self.progress_at = time.monotonic()
        """When sound came last, or had to wait."""
        self.buffer = LiveBuffer(self.progress_at)
        self._unheard = bytearray()
        self._ended_at: Optional[float] = None
        self.hungry_since: Optional[float] = None
        """When ffmpeg got the first of the octets for which no sound has come yet; ``None`` where there are none."""
        self.fed = 0
        """Octets that ffmpeg got since then."""
        self.has_output = False
        """Whether any sound has come."""
        self._printed = b""
        self._killed = False
        pipes = {rate: os.pipe() for rate in RATES}
        command = decoder_command({rate: writing for rate, (_, writing) in pipes.items()}, loudness, segments)
        try:
            self._process = _start([*leash(os.getpid(), DATA_LIMIT_MB), program, *command[1:]], pipes)
        except OSError as error:
            for reading, _ in pipes.values():
                os.close(reading)
            raise DecoderFailed(f"ffmpeg does not run: {error.strerror}") from None
        finally:
            for _, writing in pipes.values():
                os.close(writing)
        self._outputs = {rate: reading for rate, (reading, _) in pipes.items()}
        assert self._process.stdin is not None and self._process.stderr is not None
        self._input, self._errors = self._process.stdin, self._process.stderr
        for handle in (*self._outputs.values(), self._input.fileno(), self._errors.fileno()):
            os.set_blocking(handle, False)

    def kill(self) -> None:
        """End ffmpeg at once. Any thread may call this."""
        self._killed = True
        self._process.kill()

    # -- the thread that feeds -------------------------------------------------------------------------------------

    def feed(self, octets: bytes) -> None:
        """Give ffmpeg what the station has sent. Waits while ``buffer`` is full. Raises ``DecoderFailed``."""
        if self.hungry_since is None:
            self.hungry_since = time.monotonic()
        self.fed += len(octets)
        self._unheard += octets
        del self._unheard[:-MOST_UNHEARD]
        view = memoryview(octets)
        while view:
            if self._killed or self.buffer.finished:
                raise DecoderFailed(self.why)
            try:
                view = view[os.write(self._input.fileno(), view) :]
            except BlockingIOError:
                if time.monotonic() - self.progress_at > STUCK:
                    raise DecoderFailed("ffmpeg takes no more of it") from None
                select.select([], [self._input], [], PATIENCE)
            except OSError:  # ffmpeg has ended
                time.sleep(PATIENCE)  # until ``pump`` has read why
                raise DecoderFailed(self.why) from None

    def unheard(self) -> bytes:
        """The octets for which no sound has come, without their first quarter, which may be in the former format."""
        octets = bytes(self._unheard)
        return octets[len(octets) // 4 :]

    def end_input(self) -> None:
        """Let ffmpeg decode to the end what it has. If that takes longer than ``END_TIMEOUT``, ``pump`` kills it."""
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        try:
            self._input.close()
        except OSError:
            pass  # ffmpeg has ended

    # -- the thread that reads -------------------------------------------------------------------------------------

    def pump(self, now: float) -> None:
        """Read what ffmpeg has written, as far as the buffer has room."""
        if self.buffer.finished:
            return
        self._read_errors()
        if self._killed:
            while self._outputs:
                os.close(self._outputs.popitem()[1])
        for rate in list(self._outputs):
            while not self.buffer.is_full:
                try:
                    octets = os.read(self._outputs[rate], 65536)
                except BlockingIOError:
                    break
                if not octets:
                    os.close(self._outputs.pop(rate))
                    break
                self.buffer.feed(rate, octets)
                self.has_output = True
                self._progress(now)
        if self.buffer.is_full:
            self.buffer.full_at = now
            self._progress(now)
        if self._ended_at is not None and now - max(self._ended_at, self.progress_at) > END_TIMEOUT:
            self.kill()
        if not self._outputs:
            self._process.wait()
            self._read_errors()
            self._errors.close()
            self.buffer.finish()

    def _progress(self, now: float) -> None:
        self.progress_at, self.hungry_since, self.fed = now, None, 0
        self._unheard.clear()

    @property
    def why(self) -> str:
        """Why ffmpeg decodes nothing, in its own words."""
        if (ended := self._process.returncode) is not None and ended < 0 and not self._killed:
            return f"ffmpeg was ended by signal {-ended}"
        return f"ffmpeg finds no sound in it: {self.error}" if self.error else "ffmpeg finds no sound in it"

    @property
    def error(self) -> str:
        """The first error that ffmpeg has printed; empty where it has printed none."""
        return _printable(first_error(self._printed.decode("utf-8", "replace")))

    def _read_errors(self) -> None:
        try:
            while printed := self._errors.read(65536):
                self._printed = (self._printed + printed)[:MOST_PRINTED]
        except (OSError, ValueError):
            pass  # nothing there, or closed


def _printable(text: str) -> str:
    plain = re.sub(r"^(\S+ @ \w+\]|pipe:0:) ", "", text)
    return "".join(each if each.isprintable() else " " for each in plain)[:200]


def _start(command: Sequence[str], pipes: Mapping[int, tuple[int, int]]) -> subprocess.Popen[bytes]:
    for reading, _ in pipes.values():
        try:
            fcntl.fcntl(reading, F_SETPIPE_SZ, LARGE_PIPE)
        except OSError:
            pass  # pipes of the usual size
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0,
        pass_fds=[writing for _, writing in pipes.values()],
    )  # fmt: skip
