"""What a file is, by its first octets: the kinds of files that may be taken for music, in the owner's words.

ffmpeg would search such a file for sound, and at times finds some: an MP3 packed in a ZIP archive, or noise in a text.
"""

from __future__ import annotations

import re
from pathlib import Path

BEGINNING = 65536
"""Octets that are read of a file."""

PICTURE = "a picture"
PLAYLIST = "a playlist, which names other files and has no sound itself"
KINDS = (
    (b"%PDF-", "a PDF document"),
    (b"MThd", "a MIDI file, which has notes and no sound"),
    (b"\xff\xd8\xff", f"{PICTURE} (JPEG)"),
    (b"\x89PNG\r\n", f"{PICTURE} (PNG)"),
    (b"GIF8", f"{PICTURE} (GIF)"),
    (b"RIFF....WEBP", f"{PICTURE} (WebP)"),
    (b"PK\3\4.{26}(?:mimetype|\\[Content_Types\\]|_rels/)", "an office document"),
    (b"PK\3\4", "a ZIP archive"),
    (b"Rar!\x1a\7", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b\x08", "an archive (gzip)"),
    (b"BZh[1-9]1AY&SY", "an archive (bzip2)"),
    (b"\xfd7zXZ\0", "an archive (xz)"),
    (b"\\(\xb5/\xfd", "an archive (Zstandard)"),
    (b".{257}ustar", "an archive (tar)"),
    (b"RIFF....AVI ", "an AVI film, a format that is not played"),
    (b"FLV\1", "a Flash film (FLV), a format that is not played"),
    (b"\0\0\1\xba", "an MPEG film, a format that is not played"),
    (b"G.{187}G.{187}G", "a television recording (MPEG-TS), a format that is not played"),
    (b"\\.RMF|\\.ra\xfd", "RealMedia, a format that is not played"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "a database"),
    (b"d\\d+:[a-z -]+\\d*:", "a torrent, which names files and has no sound itself"),
)
"""How files begin that are no music (regular expressions), and what they are."""
TEXTS = (
    (r"<!doctype html|<html|<head\b|<body\b", "a web page (HTML)"),
    (r"<svg\b|<\?xml.{0,400}<svg\b", f"{PICTURE} (SVG)"),
    (
        r"#extm3u|ffconcat |\[playlist\]|v=0\s+o=|<\?xml.{0,400}<(?:mpd|playlist|asx|smil)\b|<(?:asx|mpd|smil)\b",
        PLAYLIST,
    ),
    (r"https?://\S+\s*\Z|\[internetshortcut\]", "a link to a web page"),
    (r"version https://git-lfs\.", "a pointer of Git LFS in place of the file"),
)
"""How texts begin that are more than a text."""
MUSIC = (
    b"RIFF|RIFX|RF64|OggS|fLaC|ID3|FORM....AIF|\\.snd|caff|wvpk|#!AMR|\x1aE\xdf\xa3|\x30\x26\xb2\x75\x8e\x66\xcf|"
    b"....ftyp|....moov|....mdat|riff\x2e\x91\xcf\x11|MAC |DSD |MP\\+|MPCK|TTA|Creative Voice File"
)
"""How files begin whose format ffmpeg recognises for certain."""
MORE_MUSIC = (
    (b"MAC ", "Monkey's Audio"),
    (b"DSD ", "DSF"),
    (b"MP\\+|MPCK", "Musepack"),
    (b"TTA1", "TTA"),
    (b"Creative Voice File", "VOC"),
)
"""How files of the formats begin that the slim ffmpeg does not read."""

COMMENTS = r"\s*(?:<!--(?:(?!-->).)*-->\s*)*"
"""Comments before the first element of HTML or XML. None holds its own end: otherwise the time to find that a text is
of no kind doubles with each comment, and ``re`` keeps the interpreter's lock all the while."""


def read_beginning(path: Path) -> bytes:
    """The first octets of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(BEGINNING)
    except OSError:
        return b""


def no_music(beginning: bytes) -> str:
    """What a file is that is certainly no music, in the owner's words; empty for any other file."""
    for pattern, words in KINDS:
        if re.match(pattern, beginning, re.DOTALL):
            return words
    text = _text(beginning)
    if not text:
        return ""
    for kind, words in TEXTS:
        if re.match(COMMENTS + "(?:" + kind + ")", text, re.DOTALL | re.IGNORECASE):
            return words
    return "a text"


def _text(beginning: bytes) -> str:
    """The text that the file is; empty where it is none."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding, whole = "utf-16", beginning[: len(beginning) & ~1]
    else:
        encoding, whole = "utf-8-sig", beginning
    try:
        text = whole.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16" or error.start < len(beginning) - 4 or len(beginning) < BEGINNING:
            return ""  # where the beginning was cut within a character, the rest is a text
        text = whole[: error.start].decode(encoding)
    printable = sum(character.isprintable() or character in "\t\r\n\f" for character in text)
    return text if text and printable == len(text) else ""


def id3_length(head: bytes) -> int:
    """The octets of the ID3 tag that begins with ``head``, by its own header; 0 where none begins there."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((octet & 127) << shift for octet, shift in zip(head[6:10], (21, 14, 7, 0)))


def tags_only(path: Path) -> str:
    """The kind of tag (``ID3``, ``APE``) if the file holds nothing else; otherwise empty."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = 0
            found = ""
            while begin < size:
                file.seek(begin)
                head = file.read(32)
                if length := id3_length(head):
                    begin += length
                    found = "ID3"
                elif head[:8] == b"APETAGEX":
                    begin += 32 + int.from_bytes(head[12:16], "little")
                    found = "APE"
                elif head[:3] == b"TAG" and size - begin == 128:
                    return found or "ID3"
                else:
                    return ""
            return found
    except OSError:
        return ""


def has_header(beginning: bytes) -> bool:
    """Whether the file is of a kind that is recognised by its first octets, or of MPEG frames in a row."""
    if re.match(MUSIC, beginning, re.DOTALL) or no_music(beginning):
        return True
    return _mpeg_frames(beginning)


BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
RATES = (44100, 48000, 32000)


def _mpeg_frames(octets: bytes) -> bool:
    """Whether the octets are at least three frames of MP3 (MPEG-1 layer III)."""
    at = 0
    for _ in range(3):
        head = octets[at : at + 4]
        if len(head) < 4 or head[0] != 0xFF or head[1] & 0xFE != 0xFA:
            return False
        bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
        if bitrate in (0, 15) or rate == 3:
            return False
        at += 144 * 1000 * BITRATES[bitrate] // RATES[rate] + padding
    return True
