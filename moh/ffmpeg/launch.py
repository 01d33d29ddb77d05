"""How an ffmpeg is run safely, and which encoders the installed ffmpeg has."""

from __future__ import annotations

import shutil
import subprocess
from typing import Optional

DATA_LIMIT_MB = 256
"""Private memory in MB that an ffmpeg that plays may have. Debian's ffmpeg reserves 35 MB and uses little of that."""

OOM_SCORE = 900
"""``oom_score_adj`` of each ffmpeg, 1000 at most: when memory runs out, the kernel kills ffmpegs before the server."""

SLIM = "moh-ffmpeg"
"""The slim ffmpeg, where ``start.sh`` has built one; its folder is on the PATH."""

_WORKING: set[str] = set()
"""The setprivs that are known to work: to try one takes milliseconds, and holds the interpreter's lock."""

EncoderQuery = subprocess.Popen[bytes]
"""An ffmpeg that was asked for its encoders."""


def ask_for_encoders() -> Optional[EncoderQuery]:
    """Ask the installed ffmpeg for its encoders; ``encoders`` reads the answer. ``None`` where ffmpeg does not run.

    Debian's ffmpeg takes 70 ms to answer; the caller can do other work meanwhile.
    """
    try:
        return subprocess.Popen(
            ["ffmpeg", "-hide_banner", "-encoders"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None


def encoders(asked: Optional[EncoderQuery] = None) -> set[str]:
    """The names of the encoders that the installed ffmpeg has; empty where ffmpeg does not run.

    ``asked`` comes from an earlier ``ask_for_encoders``; without it, ffmpeg is asked now.
    """
    ffmpeg = asked or ask_for_encoders()
    if ffmpeg is None:
        return set()
    listed = ffmpeg.communicate()[0].decode("utf-8", "replace")
    return {row[1] for row in map(str.split, listed.splitlines()) if len(row) > 1}


def player() -> str:
    """The name of the ffmpeg that plays to a call: the slim one as soon as it is there, otherwise the installed one.

    The installed one converts the music, since it reads more formats.
    """
    return shutil.which(SLIM) or "ffmpeg"


def leash(parent: int, data_limit_mb: int = 0) -> list[str]:
    """The prefix that makes a command die with the thread that starts it; empty where setpriv cannot do that.

    ``parent`` is the number of that thread's process. If this process dies before setpriv has asked the kernel for the
    signal, no signal comes; the shell then sees that its parent is another process, and exits. ``data_limit_mb`` is the
    private memory in MB that the command may have; 0 sets no limit.
    """
    setpriv = shutil.which("setpriv")
    if not setpriv:
        return []
    prefix = [setpriv, "--pdeathsig", "KILL", "--"]
    if setpriv not in _WORKING:
        try:
            # the setpriv of BusyBox does not know the option --pdeathsig
            works = subprocess.run([*prefix, setpriv, "--help"], stdin=subprocess.DEVNULL, capture_output=True)
        except OSError:
            return []
        if works.returncode != 0:
            return []
        _WORKING.add(setpriv)
    limit = f"ulimit -d {data_limit_mb * 1024} 2>/dev/null; " if data_limit_mb else ""
    score = f"{{ echo {OOM_SCORE} >/proc/self/oom_score_adj; }} 2>/dev/null; "
    script = '[ "$PPID" = "$0" ] || exit; ' + score + limit + 'exec "$@"'
    return [*prefix, "/bin/sh", "-c", script, str(parent)]
