"""Whether a file is complete, by what its own header says of its size.

ffmpeg states a length that it reads from the header or estimates from the bit rate. Neither proves that something is
missing: an estimate is wrong for most files of variable bit rate, and a film may be longer than its sound. A size in
the header that exceeds the size of the file is a proof.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, Literal, Optional

from .contents import id3_length

TOLERANCE = 2048
"""Octets that a complete file may lack: encoders count their first frame in different ways."""
UNKNOWN = 0x7FF00000
"""A size in 32 bits, of a WAV or AU file, from which on it means that the program did not know the size."""
MOST_PARTS = 1000
"""Chunks or boxes of a file that are looked at."""
BOXES = frozenset(b"ftyp moov mdat free skip wide uuid meta moof mfra sidx styp udta".split())
"""The kinds of boxes that follow each other in an MP4 file."""
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""The GUID of the object with the size of an ASF (WMA) file."""
LITTLE_LOST = 0.9
"""The share of a file from which on its missing rest is not worth a line: an encoder's padding, a tag."""


def promised(path: Path) -> Optional[int]:
    """The octets that the file has by its own header; ``None`` where no header says that. Raises ``OSError``."""
    with path.open("rb") as file:
        head = file.read(16)
        if head[:4] in (b"RIFF", b"FORM") and head[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
            return _chunks(file, "little" if head[:1] == b"R" else "big")
        if head[:4] == b".snd":
            size = int.from_bytes(head[8:12], "big")
            return int.from_bytes(head[4:8], "big") + size if 0 < size < UNKNOWN else None
        if head[4:8] in BOXES:
            return _boxes(file)
        if head[:4] == b"\x1aE\xdf\xa3":
            return _segment(file)
        if head[:4] == b"\x30\x26\xb2\x75":
            return _asf(file)
        return _mpeg(file)


def lacks(path: Path) -> bool:
    """Whether the file is shorter than its own header says. A file that cannot be read does not count as shorter."""
    try:
        size = promised(path)
        return size is not None and path.stat().st_size + TOLERANCE < size
    except OSError:
        return False


def what_is_missing(path: Path, seconds: float, declared: Optional[float], said: str) -> str:
    """What the owner has to know of a file of which ffmpeg could decode ``seconds``; empty where nothing is missing.

    ``declared`` is the length that ffmpeg states, ``said`` is what ffmpeg printed.
    """
    if "Estimating duration from bitrate" in said:
        declared = None
    short = declared is not None and seconds < LITTLE_LOST * declared
    size = promised(path)
    there = path.stat().st_size
    if size is not None and there < LITTLE_LOST * size:
        if short:
            return f"the file breaks off after {seconds:.0f} of {declared:.0f} s"
        if not _is_mpeg(said):  # the frames of an MP3 can be counted wrongly, and so can its octets; one proves nothing
            return f"the file breaks off after {seconds:.0f} s; {100 * (1 - there / size):.0f} % of it is missing"
    elif short and not _is_mpeg(said) and not _has_more(said):
        return f"only {seconds:.0f} of its {declared:.0f} s can be read"
    return ""


def _is_mpeg(said: str) -> bool:
    return re.search(r"^.*?Input #0, mp3,", said, re.MULTILINE) is not None


def _has_more(said: str) -> bool:
    """Whether there is more in the file than sound and pictures that are attached to it: a film may be longer."""
    streams = re.findall(r"^.*? Stream #0:\d.*?: \w+: .*", said.partition("Stream mapping")[0], re.MULTILINE)
    return len([stream for stream in streams if "attached pic" not in stream]) > 1


def _chunks(file: BinaryIO, order: Literal["little", "big"]) -> Optional[int]:
    """The end of the chunk with the samples, in a WAV or AIFF file."""
    at = 12
    for _ in range(MOST_PARTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return None
        size = int.from_bytes(head[4:8], order)
        if head[:4] in (b"data", b"SSND"):
            return at + 8 + size if 0 < size < UNKNOWN else None
        at += 8 + size + size % 2
    return None


def _boxes(file: BinaryIO) -> Optional[int]:
    """The end of the last box of an MP4 file."""
    end = file.seek(0, 2)
    at = 0
    for _ in range(MOST_PARTS):
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if head[4:8] not in BOXES or size < 8:
            return at  # something else is appended, or the last box goes on to the end of the file
        at += size
        if at >= end:
            return at
    return None


def _segment(file: BinaryIO) -> Optional[int]:
    """The end of the segment, which follows the header of a Matroska file."""
    file.seek(4)
    header = _size_at(file)
    if header is None:
        return None
    file.seek(header, 1)
    if file.read(4) != b"\x18\x53\x80\x67":
        return None
    size = _size_at(file)
    return None if size is None else file.tell() + size


def _size_at(file: BinaryIO) -> Optional[int]:
    """Read a size of Matroska, of one to eight octets; ``None`` for a size that is not known."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    octets = first + file.read(more)
    mask = (1 << 7 * len(octets)) - 1
    size = int.from_bytes(octets, "big") & mask
    return None if size == mask or len(octets) <= more else size


def _asf(file: BinaryIO) -> Optional[int]:
    """The size that a WMA file states of itself."""
    file.seek(0)
    octets = file.read(65536)
    at = octets.find(ASF_PROPERTIES)
    size = int.from_bytes(octets[at + 40 : at + 48], "little") if at >= 0 else 0
    return size or None


def _mpeg(file: BinaryIO) -> Optional[int]:
    """The end of the frames of an MP3 file with a header of LAME (Xing) or Fraunhofer (VBRI)."""
    begin = 0
    for _ in range(MOST_PARTS):
        file.seek(begin)
        octets = file.read(256)
        length = id3_length(octets)
        if not length:
            break
        begin += length
    found = re.search(b"(VBRI)|(?:Xing|Info)...(.)", octets, re.DOTALL)
    if octets[:1] != b"\xff" or not found:
        return None
    at = found.start() + 10  # VBRI: version, delay and quality come before
    if found[2]:
        flags = found[2][0]
        if not flags & 2:
            return None
        at = found.end() + (4 if flags & 1 else 0)
    size = int.from_bytes(octets[at : at + 4], "big")
    return begin + size if size else None
