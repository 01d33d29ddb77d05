"""Which kinds of files are music: those whose demuxer in ffmpeg opens nothing but the file itself.

The law kept here: the owner's file is the only file that a conversion reads. A playlist, as of HLS, DASH or ffconcat,
names other files and hosts, and ffmpeg recognises one by its content, whatever the name of the file.

A bare file of a PBX (``.g722``, ``.ulaw``) has no header that ffmpeg could recognise. The ending of its name says what
it is, unless its content is of a kind that has a header.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import NamedTuple, Optional, Union

from .contents import has_header, read_beginning
from .owner_name import owner_name

FORMATS = {
    "aac": "AAC", "ac3": "AC-3", "aiff": "AIFF", "amr": "AMR", "asf": "WMA", "au": "AU", "caf": "CAF",
    "eac3": "E-AC-3", "flac": "FLAC", "matroska": "Matroska", "mov": "MP4", "mp3": "MP3", "ogg": "Ogg", "w64": "W64",
    "wav": "WAV", "wv": "WavPack",
}  # fmt: skip
"""ffmpeg's demuxers for the formats that ``docs/sound.md`` lists, with the words there. ``tools/build_ffmpeg.sh``
builds the same."""
MORE_FORMATS = {
    "ape": "Monkey's Audio", "dsf": "DSF", "mpc": "Musepack", "mpc8": "Musepack", "tta": "TTA", "voc": "VOC",
}  # fmt: skip
"""The formats that Debian's whole ffmpeg reads beside these."""
SOUNDS = {
    "aac": "AAC", "ac3": "AC-3", "adpcm_g722": "G.722", "adpcm_g726": "G.726", "adpcm_g726le": "G.726", "alac": "ALAC",
    "amrnb": "AMR", "amrwb": "AMR", "eac3": "E-AC-3", "flac": "FLAC", "g723_1": "G.723.1", "g729": "G.729",
    "gsm": "GSM", "gsm_ms": "GSM", "mp3float": "MP3", "opus": "Opus", "speex": "Speex", "vorbis": "Vorbis",
    "wavpack": "WavPack", "wmalossless": "WMA", "wmapro": "WMA", "wmav1": "WMA", "wmav2": "WMA", "wmavoice": "WMA",
}  # fmt: skip
"""ffmpeg's decoders for the sound in these files, with the words in ``docs/sound.md``. There are more (PCM, ADPCM)."""
ALLOWED = ",".join((*FORMATS, *MORE_FORMATS))
"""The value of ffmpeg's option ``format_whitelist``."""
EXPECTED = "MP3, AAC, FLAC, Ogg, Opus, WAV, AIFF, WMA, WavPack, MP4 or Matroska"
"""The usual formats, for people."""


class Bare(NamedTuple):
    """Sound without a header, in one channel: ffmpeg's name of the format, samples per second, and words for people."""

    demuxer: str
    rate: int
    words: str


BARE = {
    **dict.fromkeys(("ulaw", "ul", "ulw", "mu", "pcmu"), Bare("mulaw", 8000, "G.711 µ-law")),
    **dict.fromkeys(("alaw", "al", "alw", "pcma"), Bare("alaw", 8000, "G.711 A-law")),
    "g722": Bare("g722", 16000, "G.722"),
    "g729": Bare("g729", 8000, "G.729"),
    "gsm": Bare("gsm", 8000, "GSM"),
    "sln": Bare("s16le", 8000, "16-bit samples"),
    **{f"sln{khz}": Bare("s16le", 1000 * khz, "16-bit samples") for khz in (12, 16, 24, 32, 48, 96, 192)},
    "sln44": Bare("s16le", 44100, "16-bit samples"),
}
"""The endings of names that Asterisk and FreeSWITCH give to bare files. Others (``.raw``, ``.pcm``, ``.vox``) say too
little: each stands for several formats or rates."""


def _ending(source: Path) -> str:
    """The ending of the name that the owner gave the file: in a container it may be bound as ``/music.mp3``."""
    return PurePath(owner_name(source)).suffix


def bare_format(source: Path) -> Optional[Bare]:
    """What a bare file is, by the ending of its name; ``None`` for a file with a header, and for any other ending."""
    bare = BARE.get(_ending(source).lower().lstrip("."))
    return bare if bare and not has_header(read_beginning(source)) else None


def input_options(source: Path) -> dict[str, Union[str, int]]:
    """The options with which ffmpeg reads the file, in the words of ffmpeg-python."""
    bare = bare_format(source)
    if bare is None:
        return {"protocol_whitelist": "file", "format_whitelist": ALLOWED}
    options: dict[str, Union[str, int]] = {
        "protocol_whitelist": "file",
        "format_whitelist": bare.demuxer,
        "f": bare.demuxer,
    }
    if bare.demuxer in ("mulaw", "alaw", "s16le"):  # the other demuxers set the rate themselves
        options.update(ar=bare.rate, ac=1)
    return options


def read_as(source: Path) -> str:
    """As what a bare file is read, in words for the owner; empty for any other file."""
    bare = bare_format(source)
    return f"read as {bare.words} of {bare.rate / 1000:g} kHz, since its name ends in {_ending(source)}" if bare else ""


def refused_format(said: str) -> Optional[str]:
    """ffmpeg's name of the format of a file that it did not read because of ``ALLOWED``; ``None`` otherwise."""
    found = re.search(r"^\[(\S+) @ \w+\] \[\w+\] Format not on whitelist", said, re.MULTILINE)
    return found[1] if found else None
