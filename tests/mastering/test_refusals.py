"""End to end, by real ffmpeg: what an owner reads of a file that is no music. One line, no jargon."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Union

import pytest

from moh.mastering.refusals import complaint, facts_of, not_decoded, too_short, unreadable
from tests.mastering.tracks import TONE, make, refusal

NOISE = random.Random(1).randbytes(50_000)
PICTURE = "testsrc=size=64x48"
FILM = "testsrc=size=64x48:duration=0.2"


def made(*options: str, kind: str, source: str = TONE) -> Callable[[Path], bytes]:
    return lambda folder: make(folder / f"made.{kind}", *options, source=source).read_bytes()


def zipped(name: str, method: int = zipfile.ZIP_STORED) -> Callable[[Path], bytes]:
    def archive(folder: Path) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as file:
            file.writestr(name, make(folder / "made.mp3").read_bytes())
        return packed.getvalue()

    return archive


def cover(size: int) -> bytes:
    """Return an ID3 tag of that size, with a picture."""
    coded = bytes([size >> shift & 127 for shift in (21, 14, 7, 0)])
    frame = b"APIC" + (size - 10).to_bytes(4, "big") + b"\0\0\0image/jpeg\0\3\0\xff\xd8\xff"
    return b"ID3\3\0\0" + coded + frame.ljust(size, b"\0")


def replaced(old: bytes, new: bytes, kind: str, *options: str) -> Callable[[Path], bytes]:
    return lambda folder: make(folder / f"made.{kind}", *options).read_bytes().replace(old, new, 1)


def garbled(kind: str, begin: int, end: int) -> Callable[[Path], bytes]:
    """Return a file whose octets from ``begin`` to ``end`` are noise."""

    def spoilt(folder: Path) -> bytes:
        octets = bytearray(make(folder / f"made.{kind}", source="sine=duration=5").read_bytes())
        octets[begin:end] = NOISE[: len(octets[begin:end])]
        return bytes(octets)

    return spoilt


AUDIO = "; expected an audio file"
SHORT = "; expected at least 100 ms"
TELEVISION = "a television recording (MPEG-TS), a format that is not played"
TEXT_OF_APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0xA0000000) + bytes(8)
TABLE: dict[str, tuple[Union[bytes, Callable[[Path], bytes]], str]] = {
    # name of the file: (its content, the words after "Cannot play 'NAME': ")
    "notes.mp3": (b"do re mi\n" * 1000, "it is a text" + AUDIO),
    "one.mp3": (b"x", "it is a text" + AUDIO),
    "windows.mp3": ("do re mi".encode("utf-16"), "it is a text" + AUDIO),
    "japanese.mp3": (("保留音" * 30_000).encode(), "it is a text" + AUDIO),  # longer than what is read of it
    "error.mp3": (b"<!DOCTYPE html>\n<html><title>404 Not Found</title></html>", "it is a web page (HTML)" + AUDIO),
    "login.mp3": (b"\r\n <!-- x --><HTML><head></head></HTML>", "it is a web page (HTML)" + AUDIO),
    "denied.mp3": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "it is a text" + AUDIO),
    "answer.mp3": (b'{"error": "not found"}', "it is a text" + AUDIO),
    "shortcut.url": (b"[InternetShortcut]\r\nURL=https://x.invalid/\r\n", "it is a link to a web page" + AUDIO),
    "pointer.mp3": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 5\n",
        "it is a pointer of Git LFS in place of the file" + AUDIO,
    ),
    "list.m3u": (
        b"#EXTM3U\n#EXTINF:1,\nother.mp3\n",
        "it is a playlist, which names other files and has no sound itself" + AUDIO,
    ),
    "list.pls": (
        b"[playlist]\nFile1=other.mp3\n",
        "it is a playlist, which names other files and has no sound itself" + AUDIO,
    ),
    "stored.mp3": (zipped("a.mp3"), "it is a ZIP archive" + AUDIO),
    "deflated.mp3": (zipped("a.mp3", zipfile.ZIP_DEFLATED), "it is a ZIP archive" + AUDIO),
    "score.docx": (zipped("[Content_Types].xml"), "it is an office document" + AUDIO),
    "music.mp3.gz": (gzip.compress(NOISE), "it is an archive (gzip)" + AUDIO),
    "music.rar": (b"Rar!\x1a\x07\x01\0" + NOISE, "it is a RAR archive" + AUDIO),
    "music.7z": (b"7z\xbc\xaf\x27\x1c" + NOISE, "it is a 7z archive" + AUDIO),
    "paper.mp3": (b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n" + NOISE, "it is a PDF document" + AUDIO),
    "ringtone.mid": (b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk", "it is a MIDI file, which has notes and no sound" + AUDIO),
    "music.torrent": (
        b"d8:announce20:http://x.invalid/aaa4:infod6:lengthi5eee",
        "it is a torrent, which names files and has no sound itself" + AUDIO,
    ),
    "cover.jpg": (made("-frames:v", "1", kind="jpg", source=PICTURE), "it is a picture (JPEG)" + AUDIO),
    "cover.mp3": (made("-frames:v", "1", kind="png", source=PICTURE), "it is a picture (PNG)" + AUDIO),
    "silent.mp4": (made(kind="mp4", source=FILM), "there is no sound in it" + AUDIO),
    "silent.mkv": (made(kind="mkv", source=FILM), "there is no sound in it" + AUDIO),
    "film.avi": (made(kind="avi"), "it is an AVI film, a format that is not played" + AUDIO),
    "film.ts": (made("-c:a", "mp2", kind="ts"), "it is " + TELEVISION + AUDIO),
    "film.mpg": (made("-c:a", "mp2", kind="mpg"), "it is an MPEG film, a format that is not played" + AUDIO),
    "tag.mp3": (cover(1_000_000), "it has a title or a cover (ID3 tag), and no sound" + AUDIO),
    "ape.mp3": (TEXT_OF_APE, "it has a title or a cover (APE tag), and no sound" + AUDIO),
    "zeros.mp3": (bytes(200_000), "it begins with zeros alone" + AUDIO),
    "ones.mp3": (b"\xff" * 200_000, "its MP3 sound cannot be decoded ('Header missing')" + AUDIO),
    "cut.m4a": (
        lambda folder: make(folder / "made.m4a").read_bytes()[:3000],
        "it is incomplete: its index is missing (moov atom not found); expected the whole file",
    ),
    "head.wav": (
        lambda folder: make(folder / "made.wav").read_bytes()[:44],
        "ffmpeg can read no sound in it (\"no 'data' tag found\")" + AUDIO,
    ),
    "bought.m4p": (
        replaced(b"mp4a", b"drms", "m4a"),
        "it is protected against copying (DRM); expected a file without DRM",
    ),
    "streamed.m4a": (
        replaced(b"mp4a", b"enca", "m4a"),
        "it is protected against copying (DRM); expected a file without DRM",
    ),
    "garbled.flac": (garbled("flac", 8000, 10**9), "none of its 5 s can be decoded" + AUDIO),
    "blink.wav": (
        made(kind="wav", source="sine=sample_rate=8000:duration=0.0998"),
        "it has 99 ms of sound" + SHORT,
    ),
    "half.wav": (made(kind="wav", source="sine=sample_rate=8000:duration=0.05"), "it has 50 ms of sound" + SHORT),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_the_owner_reads(tmp_path: Path, name: str) -> None:
    content, words = TABLE[name]
    octets = content if isinstance(content, bytes) else content(tmp_path)
    track = tmp_path / name
    track.write_bytes(octets)
    assert refusal(track, tmp_path / "cache") == f"Cannot play {str(track)!r}: {words}"


def test_the_complaint_of_a_decoder_is_named(tmp_path: Path) -> None:
    track = tmp_path / "garbled.m4a"
    octets = bytearray(make(track, source="sine=duration=5").read_bytes())
    begin, end = octets.index(b"mdat") + 4, octets.index(b"moov") - 4
    octets[begin:end] = NOISE[: end - begin]
    track.write_bytes(octets)
    said = refusal(track, tmp_path / "cache")
    assert said.startswith(f"Cannot play {str(track)!r}: its AAC sound cannot be decoded ('")
    assert len(said) < len(str(track)) + 180


def test_a_file_that_may_not_be_read_says_for_which_user_and_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = tmp_path / "music.mp3"
    track.write_bytes(NOISE)
    track.chmod(0o600)
    monkeypatch.setattr("os.geteuid", lambda: 5060)
    said = str(unreadable(track, PermissionError(13, "Permission denied")))
    may_not = "the server (user 5060) may not read the file (mode 600)"
    assert said == f"Cannot play {str(track)!r}: {may_not}. Run: chmod a+r {str(track)!r}"
    said = str(unreadable(track, OSError(5, "Input/output error")))
    assert said == f"Cannot play {str(track)!r}: it cannot be read (Input/output error); expected an audio file"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize(
    ("folder", "file", "why"),
    [
        (0o755, 0o600, "the server (user 5060) may not read the file (mode 600). Run: chmod a+r {track!r}"),
        (0o700, 0o644, "the server (user 5060) may not enter a folder of its path. Run chmod a+rx on that folder"),
    ],
)
def test_the_user_of_the_server_may_not_read_the_file(tmp_path: Path, folder: int, file: int, why: str) -> None:
    private = tmp_path / "private"
    private.mkdir()
    track = private / "music.mp3"
    track.write_bytes(NOISE)
    for above in (tmp_path, *list(tmp_path.parents)[:-2]):
        above.chmod(above.stat().st_mode | 0o055)
    track.chmod(file)
    private.chmod(folder)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setresuid(5060, 5060, 5060)
            facts_of(track)
        except BaseException as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as said:
        assert said.read() == f"Cannot play {str(track)!r}: {why.format(track=str(track))}"


def test_a_link_that_leads_nowhere_says_where(tmp_path: Path) -> None:
    link = tmp_path / "music.mp3"
    link.symlink_to("gone.mp3")
    said = refusal(link, tmp_path / "cache")
    assert (
        said == f"Cannot play {str(link)!r}: it is a link to 'gone.mp3', which does not exist; expected an audio file"
    )


# -- what only the whole ffmpeg reads; what is said by a slim one ----------------------------------------------------

SLIM = "  configuration: --disable-everything --disable-autodetect\n"
WHOLE = "  configuration: --enable-gpl\n"
CURE = "; the image built with FFMPEG=full plays it (docker compose build --build-arg FFMPEG=full)"
CONVERT = "; expected it converted to MP3, FLAC or WAV"


def no_decoder(codec: str) -> str:
    return f"[error] Decoder (codec {codec}) not found for input stream #0:0\n"


@pytest.mark.parametrize(
    ("build", "codec", "words"),
    [
        (SLIM, "dts", "its sound is DTS, which this ffmpeg does not decode" + CURE),
        (SLIM, "amr_nb", "its sound is AMR, which this ffmpeg does not decode" + CURE),
        (SLIM, "truehd", "its sound is TrueHD, which this ffmpeg does not decode" + CURE),
        (SLIM, "speex", "its sound is Speex, which this ffmpeg does not decode" + CURE),
        (SLIM, "mpegh_3d_audio", "its sound is MPEGH_3D_AUDIO, which this ffmpeg does not decode" + CONVERT),
        (SLIM, "none", "its sound is of a kind that ffmpeg does not know" + CONVERT),
        (WHOLE, "smv", "its sound is SMV, which this ffmpeg does not decode" + CONVERT),
        (WHOLE, "dts", "its sound is DTS, which this ffmpeg does not decode" + CONVERT),
    ],
)
def test_the_whole_ffmpeg_is_named_only_where_it_helps(tmp_path: Path, build: str, codec: str, words: str) -> None:
    track = tmp_path / "film.mkv"
    track.write_bytes(NOISE)
    assert str(not_decoded(track, build + no_decoder(codec))) == f"Cannot play {str(track)!r}: {words}"


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        (b"MAC \x96\x0f", "Monkey's Audio"),
        (b"DSD \x1c", "DSF"),
        (b"MPCKSH", "Musepack"),
        (b"MP+\x07", "Musepack"),
        (b"TTA1", "TTA"),
        (b"Creative Voice File\x1a", "VOC"),
    ],
)
def test_a_format_that_only_the_whole_ffmpeg_reads_is_named(tmp_path: Path, beginning: bytes, name: str) -> None:
    track = tmp_path / "music"
    track.write_bytes(beginning + NOISE)
    invalid = f"[error] file:{track}: Invalid data found when processing input\n"
    assert str(not_decoded(track, SLIM + invalid)).endswith(f": it is {name}, which this ffmpeg does not read{CURE}")
    assert "FFMPEG=full" not in str(not_decoded(track, WHOLE + invalid))


def test_an_ffmpeg_without_a_filter_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    """As one that a former version of this project has built."""
    said = SLIM + "  Stream #0:0: Audio: mp3\n[AVFilterGraph @ 0x1] [error] No such filter: 'ametadata'\n"
    assert str(not_decoded(tmp_path / "music.mp3", said)) == (
        "ffmpeg has no filter 'ametadata'; expected Debian's ffmpeg, or one of this version's build_ffmpeg.sh"
    )


# -- the words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said", "words"),
    [
        (0.0999, "", "it has 99 ms of sound; expected at least 100 ms"),
        (0.0004, "", "it has 0 ms of sound; expected at least 100 ms"),
        (0.0, "", "there is no sound in it" + AUDIO),
        (0.0, "  Duration: 00:00:20.00, start", "none of its 20 s can be decoded" + AUDIO),
        (0.0, "[flac @ 0x55] [error] invalid residual", "its sound cannot be decoded ('invalid residual')" + AUDIO),
    ],
)
def test_too_little_sound(seconds: float, said: str, words: str) -> None:
    assert str(too_short(Path("x"), seconds, 0.1, said)) == f"Cannot play 'x': {words}"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("[error] file:/a: b/x.mp3: Invalid argument", "Invalid argument"),
        ("[error] No such stream in filtergraph description [0:a:0]aformat=s;pan=mono", "No such stream"),
        ("[error] " + "x" * 500, "x" * 79 + "…"),
        ("", "no error message"),
    ],
)  # fmt: skip
def test_a_complaint_of_ffmpeg_is_short_and_has_no_filter_graph(said: str, words: str) -> None:
    assert complaint(said) == words
