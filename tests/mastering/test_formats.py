"""End to end, by real ffmpeg: a playlist is not music, whatever its name. All other listed formats are music."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from moh.ffmpeg.run import FfmpegFailed
from moh.mastering.formats import ALLOWED, BARE, FORMATS, MORE_FORMATS, bare_format, input_options, refused_format
from moh.mastering.loudness import analyse
from tests.mastering.tracks import make, prepared, refusal

DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
 profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/mp4">
 <Representation id="1" bandwidth="1000"><BaseURL>other.m4a</BaseURL></Representation></AdaptationSet></Period></MPD>
"""
IMF = """<?xml version="1.0"?>
<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><Id>urn:uuid:0</Id></CompositionPlaylist>
"""
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 39000 RTP/AVP 0\n"
VOBSUB = (
    "# VobSub index file, v7 (do not modify this line!)\nsize: 720x480\ntimestamp: 00:00:00:000, filepos: 000000000\n"
)
PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile other.wav\n",
    "concat of two": "ffconcat version 1.0\nfile other.wav\nfile other.m4a\n",
    "hls": HLS.format("other.ts"),
    "hls of a key": HLS.format("#EXT-X-KEY:METHOD=AES-128,URI=other.wav\nother.ts"),
    "hls of a host": HLS.format("http://127.0.0.1:9/other.ts"),
    "hls of playlists": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nother.m3u8\n",
    "dash": DASH,
    "imf": IMF,
    "sdp": SDP,
    "vobsub": VOBSUB,
}
"""Contents of files with which ffmpeg opens other files or the network, by ffmpeg's name of the format."""
ENDINGS = {"concat": "ffconcat", "hls": "m3u8", "dash": "mpd", "imf": "xml", "sdp": "sdp", "vobsub": "idx"}


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the playlists, with the files that they name."""
    folder = tmp_path_factory.mktemp("playlists")
    for name in ("other.wav", "other.ts", "other.m4a"):
        make(folder / name)
    (folder / "other.m3u8").write_text(HLS.format("other.ts"))
    (folder / "music.sub").write_bytes(b"\0\0\1\xba" * 100)
    return folder


@pytest.mark.parametrize("ending", ["", "mp3", "wav", "flac", "aac", "ulaw", "gsm", "3gp"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_no_music_whatever_its_name(beside: Path, kind: str, ending: str) -> None:
    playlist = beside / f"music.{ending or ENDINGS[kind.split()[0]]}"
    playlist.write_text(PLAYLISTS[kind])
    said = refusal(playlist, beside / "cache")
    what = "a text" if kind in ("imf", "vobsub") else "a playlist, which names other files and has no sound itself"
    assert said == f"Cannot play {str(playlist)!r}: it is {what}; expected an audio file"


@pytest.mark.parametrize("ending", ["", "mp3", "wav", "flac", "aac", "ulaw", "gsm", "3gp"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_ffmpeg_itself_is_not_allowed_to_read_a_playlist(beside: Path, kind: str, ending: str) -> None:
    """The first octets are looked at before ffmpeg runs; this is the lock behind that door."""
    playlist = beside / f"locked.{ending or ENDINGS[kind.split()[0]]}"
    playlist.write_text(PLAYLISTS[kind])
    with pytest.raises(FfmpegFailed):
        analyse(playlist, beside, None)


def alias(path: str) -> bytes:
    """Return the entry of a ``dref`` box that says: the sound is in the file ``path``."""
    name, folder = path.rpartition("/")[2].encode(), path.encode()
    text = bytes(10) + b"\1V".ljust(28, b"\0") + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    text += bytes(16) + b"\0\1\0\1" + bytes(16)
    text += b"\0\2" + len(folder).to_bytes(2, "big") + folder.ljust(len(folder) + len(folder) % 2, b"\0")
    text += b"\xff\xff\0\0"
    return (len(text) + 12).to_bytes(4, "big") + b"alis" + bytes(4) + text


def refer(film: bytes, path: str) -> bytes:
    """Return the film with its first track in the file ``path``. Its index comes last, as ffmpeg writes it."""
    octets = bytearray(film)
    at = octets.index(b"dref") + 4
    old = int.from_bytes(octets[at + 8 : at + 12], "big")
    entry = alias(path)
    octets[at + 8 : at + 8 + old] = entry
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = octets.index(box) - 4
        size = int.from_bytes(octets[place : place + 4], "big") + len(entry) - old
        octets[place : place + 4] = size.to_bytes(4, "big")
    return bytes(octets)


@pytest.mark.parametrize("ending", ["mov", "m4a", "3gp"])
def test_a_film_whose_sound_is_in_another_file_does_not_open_that(tmp_path: Path, ending: str) -> None:
    other = make(tmp_path / "other.wav", source="sine=duration=3")
    film = make(tmp_path / f"film.{ending}", "-c:a", "aac", "-ar", "44100", "-ac", "1")
    film.write_bytes(refer(film.read_bytes(), str(other)))
    found = analyse(film, tmp_path, None)
    assert "Skipped opening external track" in found.said
    assert found.seconds < 1


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "picture%d.png", "picture.mp3"])
def test_a_picture_is_no_music(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(make(tmp_path / "x.png", "-frames:v", "1", source="testsrc=size=64x64").read_bytes())
    assert "a picture (PNG); expected an audio file" in refusal(tmp_path / name, tmp_path / "cache")


def test_a_file_of_another_kind_is_no_music_and_the_line_says_which(tmp_path: Path) -> None:
    said = refusal(make(tmp_path / "film.swf", "-c:a", "mp3"), tmp_path / "cache")
    assert "film.swf': ffmpeg reads it as 'swf', which is not played; expected MP3, " in said


KINDS = [
    "aac", "ac3", "aiff", "au", "caf", "eac3", "flac", "m4a", "mka", "mp2", "mp3", "oga", "ogg", "opus", "spx", "tta",
    "voc", "w64", "wav", "webm", "wma", "wv",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_a_listed_format_is_music(tmp_path: Path, kind: str) -> None:
    try:
        tone = make(tmp_path / f"tone.{kind}")
    except subprocess.CalledProcessError:
        pytest.skip(f"this ffmpeg writes no {kind}")
    assert prepared(tone).seconds == pytest.approx(0.5, abs=0.2)


CODERS = [
    ("wav", "gsm_ms", "libgsm_ms"),
    ("wav", "adpcm_g722", "g722"),
    ("wav", "adpcm_g726", "g726"),
    ("wav", "pcm_mulaw", "pcm_mulaw"),
    ("wav", "pcm_alaw", "pcm_alaw"),
    ("wav", "g723_1", "g723_1"),
    ("aiff", "adpcm_ima_qt", "adpcm_ima_qt"),
    ("mkv", "ac3", "ac3"),
    ("mp4", "eac3", "eac3"),
    ("mkv", "speex", "libspeex"),
]
"""Kinds of files, with the sound in them, and ffmpeg's encoder for it."""


@pytest.mark.parametrize(("kind", "sound", "encoder"), CODERS, ids=[f"{sound} in {kind}" for kind, sound, _ in CODERS])
def test_the_sound_that_pbxs_and_films_have_is_music(tmp_path: Path, kind: str, sound: str, encoder: str) -> None:
    rate = "48000" if "ac3" in sound else "16000" if sound == "adpcm_g722" else "8000"
    bits = ["-b:a", "6300"] if sound == "g723_1" else []
    try:
        tone = make(tmp_path / f"tone.{kind}", "-ac", "1", "-ar", rate, "-c:a", encoder, *bits)
    except subprocess.CalledProcessError:
        pytest.skip(f"this ffmpeg has no encoder {encoder}")
    assert prepared(tone).seconds == pytest.approx(0.5, abs=0.1)


AMR = b"#!AMR\n", 0x3C, 31
AMR_WB = b"#!AMR-WB\n", 0x44, 60


@pytest.mark.parametrize("ending", ["amr", "3gp"])
@pytest.mark.parametrize("sound", [AMR, AMR_WB], ids=["narrow", "wide"])
def test_a_voice_memo_is_music(tmp_path: Path, sound: tuple[bytes, int, int], ending: str) -> None:
    """A hundred frames of 20 ms, of noise. ffmpeg has no encoder for AMR."""
    magic, head, size = sound
    noise = random.Random(1)
    memo = tmp_path / "memo.amr"
    memo.write_bytes(magic + b"".join(bytes([head]) + noise.randbytes(size) for _ in range(100)))
    if ending == "3gp":
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(memo), "-c", "copy"]
        subprocess.run([*command, str(tmp_path / "memo.3gp")], check=True)
    assert prepared(tmp_path / f"memo.{ending}").seconds == pytest.approx(2.0, abs=0.15)


# -- bare files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [*BARE, "ULAW", "Sln16"])
def test_a_bare_file_is_read_as_its_ending_says(tmp_path: Path, ending: str) -> None:
    """The tone of 440 Hz has the same length and pitch at any rate."""
    bare = BARE[ending.lower()]
    path = tmp_path / f"tone.{ending}"
    if bare.demuxer == "g729":  # ffmpeg has no encoder
        path.write_bytes(random.Random(1).randbytes(500))
    else:
        make(path, "-ac", "1", "-ar", str(bare.rate), "-f", bare.demuxer, source="sine=duration=0.5")
    music = prepared(path)
    assert music.seconds == pytest.approx(0.5, abs=0.1)
    assert f"read as {bare.words} of {bare.rate / 1000:g} kHz, since its name ends in .{ending}" in music.report


def test_in_a_container_the_ending_is_that_of_the_owners_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose binds every file as /music.mp3."""
    bound = make(tmp_path / "music.mp3", "-ac", "1", "-ar", "16000", "-f", "g722")
    assert bare_format(bound) is None
    monkeypatch.setattr("moh.mastering.formats.owner_name", lambda path: "./moh/hold.g722")
    assert bare_format(bound) == BARE["g722"]
    assert prepared(bound).seconds == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kind", ["wav", "flac", "m4a", "ogg", "au", "aiff", "mka", "wv", "mp3", "w64", "caf"])
@pytest.mark.parametrize("ending", ["ulaw", "gsm", "sln", "g722"])
def test_a_file_with_a_header_is_not_taken_for_a_bare_one(tmp_path: Path, kind: str, ending: str) -> None:
    """Asterisk's WAV files with GSM were once named .gsm; played as bare samples, an MP3 would be noise."""
    options = ["-write_xing", "0", "-id3v2_version", "0"] if kind == "mp3" else []
    renamed = make(tmp_path / f"tone.{kind}", *options).rename(tmp_path / f"tone.{ending}")
    assert bare_format(renamed) is None
    assert input_options(renamed)["format_whitelist"] == ALLOWED


@pytest.mark.parametrize("ending", ["raw", "pcm", "vox", "r8", "g723", "siren7", "mp3", ""])
def test_an_ending_that_stands_for_several_formats_makes_no_bare_file(tmp_path: Path, ending: str) -> None:
    path = make(tmp_path / "tone.ulaw", "-f", "mulaw").rename(tmp_path / f"tone.{ending}")
    assert bare_format(path) is None
    assert "expected" in refusal(path, tmp_path / "cache")


# -- the lists -----------------------------------------------------------------------------------------------------


def test_no_demuxer_that_opens_other_files_is_allowed() -> None:
    opening = {
        "avisynth", "avi", "bluray", "concat", "dash", "hls", "image2", "image2pipe", "imf", "lavfi", "mlv", "rtp",
        "rtsp", "sap", "sdp", "tedcaptions", "vapoursynth", "vobsub", "webm_dash_manifest",
    }  # fmt: skip
    assert not opening & {*FORMATS, *MORE_FORMATS, *(bare.demuxer for bare in BARE.values())}
    assert sorted(set(ALLOWED.split(","))) == sorted([*FORMATS, *MORE_FORMATS])


def test_the_format_that_ffmpeg_refused_is_read() -> None:
    assert refused_format("[info] x\n[concat @ 0x5596] [error] Format not on whitelist 'mp3'\n") == "concat"
    assert refused_format("[hls,applehttp @ 0x5596] [error] Format not on whitelist 'mp3'") == "hls,applehttp"
    assert refused_format("[mp3 @ 0x5596] [error] Failed to read frame size") is None
