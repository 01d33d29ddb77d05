"""Which kinds of files are music: those whose demuxer in ffmpeg opens nothing but the file itself.

The law kept here: the owner's file is the only file that a conversion reads. A playlist, as of HLS, DASH or ffconcat,
names other files and hosts, and ffmpeg recognises one by its content, whatever the name of the file.
"""

from __future__ import annotations

import re
from typing import Optional

DEMUXERS = ("aac", "aiff", "asf", "au", "caf", "flac", "matroska", "mov", "mp3", "ogg", "w64", "wav", "wv")
"""ffmpeg's names of the formats that ``docs/sound.md`` lists; ``tools/build_ffmpeg.sh`` builds the same."""
MORE_DEMUXERS = ("ac3", "amr", "ape", "dsf", "eac3", "mpc", "mpc8", "tta", "voc")
"""The formats that Debian's whole ffmpeg reads beside these."""
ALLOWED = ",".join((*DEMUXERS, *MORE_DEMUXERS))
"""The value of ffmpeg's option ``format_whitelist``."""
EXPECTED = "MP3, AAC, FLAC, Ogg, Opus, WAV, AIFF, WMA, WavPack, MP4 or Matroska"
"""The usual formats, for people."""


def refused_format(said: str) -> Optional[str]:
    """ffmpeg's name of the format of a file that it did not read because of ``ALLOWED``; ``None`` otherwise."""
    found = re.search(r"^\[(\S+) @ \w+\] \[\w+\] Format not on whitelist", said, re.MULTILINE)
    return found[1] if found else None
