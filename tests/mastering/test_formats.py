"""End to end, by real ffmpeg: a playlist is not music, whatever its name. All other listed formats are music."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from moh.mastering.formats import ALLOWED, DEMUXERS, MORE_DEMUXERS, refused_format
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


@pytest.mark.parametrize("ending", ["", "mp3", "wav", "flac", "aac"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_no_music_whatever_its_name(beside: Path, kind: str, ending: str) -> None:
    playlist = beside / f"music.{ending or ENDINGS[kind.split()[0]]}"
    playlist.write_text(PLAYLISTS[kind])
    said = refusal(playlist, beside / "cache")
    assert said.startswith(f"Music is {str(playlist)!r}: ")
    if kind in ("concat", "hls", "dash"):
        assert (
            f"ffmpeg reads it as {kind!r}, which is not played; expected MP3, AAC, FLAC" in said or "no audio" in said
        )


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "picture%d.png", "picture.mp3"])
def test_a_picture_is_no_music(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(make(tmp_path / "x.png", "-frames:v", "1", source="testsrc=size=64x64").read_bytes())
    assert refusal(tmp_path / name, tmp_path / "cache").startswith("Music is ")


def test_a_film_of_another_kind_is_no_music_and_the_line_says_which(tmp_path: Path) -> None:
    said = refusal(make(tmp_path / "film.avi"), tmp_path / "cache")
    assert "film.avi': ffmpeg reads it as 'avi', which is not played; expected MP3, " in said


KINDS = [
    "aac",
    "ac3",
    "aiff",
    "au",
    "caf",
    "flac",
    "m4a",
    "mka",
    "mp2",
    "mp3",
    "oga",
    "ogg",
    "opus",
    "tta",
    "voc",
    "w64",
]
KINDS += ["wav", "webm", "wma", "wv"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_a_listed_format_is_music(tmp_path: Path, kind: str) -> None:
    try:
        tone = make(tmp_path / f"tone.{kind}")
    except subprocess.CalledProcessError:
        pytest.skip(f"this ffmpeg writes no {kind}")
    assert prepared(tone).seconds == pytest.approx(0.5, abs=0.2)


def test_no_demuxer_that_opens_other_files_is_allowed() -> None:
    opening = {
        "avisynth", "avi", "bluray", "concat", "dash", "hls", "image2", "image2pipe", "imf", "lavfi", "mlv", "rtp",
        "rtsp", "sap", "sdp", "tedcaptions", "vapoursynth", "vobsub", "webm_dash_manifest",
    }  # fmt: skip
    assert not opening & {*DEMUXERS, *MORE_DEMUXERS}
    assert sorted(set(ALLOWED.split(","))) == sorted([*DEMUXERS, *MORE_DEMUXERS])


def test_the_format_that_ffmpeg_refused_is_read() -> None:
    assert refused_format("[info] x\n[concat @ 0x5596] [error] Format not on whitelist 'mp3'\n") == "concat"
    assert refused_format("[hls,applehttp @ 0x5596] [error] Format not on whitelist 'mp3'") == "hls,applehttp"
    assert refused_format("[mp3 @ 0x5596] [error] Failed to read frame size") is None
