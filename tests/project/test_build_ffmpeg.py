"""``tools/build_ffmpeg.sh`` builds all that the code uses. The tests compare names and build nothing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from moh.common.actions import Address, Target
from moh.common.codecs import CODECS, G722, OPUS, PCMA, PCMU, Codec
from moh.ffmpeg.commands import encode_command, ffmpeg_command
from moh.http.sound import decode_command
from moh.http.sound import encode_command as encode_for_player
from moh.mastering.formats import BARE, FORMATS, MORE_FORMATS, SOUNDS
from moh.radio.decoder import ALLOWED as ALLOWED_RADIO
from moh.radio.decoder import decoder_command as radio_command

ROOT = Path(__file__).parent.parent.parent
SCRIPT = (ROOT / "tools" / "build_ffmpeg.sh").read_text(encoding="utf-8")


def listed(kind: str) -> set[str]:
    """Return the names in the list ``kind`` of the script."""
    found = re.search(rf"^{kind}=\((.*?)\)$", SCRIPT, re.MULTILINE | re.DOTALL)
    assert found, f"tools/build_ffmpeg.sh has no list of {kind}"
    return set(re.sub(r"#.*", "", found[1]).split())


def test_the_static_program_calls_no_iconv() -> None:
    """glibc would load iconv's libraries of another release of the system, and MPEG-TS crashed by that."""
    assert "-static" in SCRIPT
    assert "--disable-iconv" in SCRIPT


def test_the_script_has_the_filters_of_a_call() -> None:
    here = Address("127.0.0.1", 10_000)
    command = ffmpeg_command(Path("x.wav"), 48.0, Target(here, here, here, PCMU, 0, 20), 1.0, bind=False)
    chain = command[command.index("-filter:a") + 1].split(",")
    names = {each.partition("=")[0] for each in chain}
    assert "arealtime" in names
    assert names <= listed("filters")


def test_the_script_has_the_filters_and_the_muxer_of_the_shared_stream() -> None:
    command = encode_command(Path("x.wav"), OPUS, 20, start=5, resampling=(768210, 768320))
    chain = command[command.index("-filter:a") + 1].split(",")
    names = {each.partition("=")[0] for each in chain}
    assert "asetrate" in names
    assert names <= listed("filters")
    assert command[command.index("-f") + 1] in listed("muxers")


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.name))
def test_the_script_has_what_the_players_of_the_page_need(codec: Codec) -> None:
    """ffmpeg encodes the music, writes it into a pipe, and decodes it again."""
    encode, decode = encode_for_player(Path("x.wav"), codec), decode_command(codec)
    raw = {"mulaw": "'pcm_*'", "alaw": "'pcm_*'"}
    demuxer = decode[decode.index("-f") + 1]
    assert encode[encode.index("-f", encode.index("-i")) + 1] in listed("muxers")
    assert raw.get(demuxer, demuxer) in listed("demuxers")
    assert "wav" in listed("demuxers") and "pcm_s16le" in listed("muxers")
    decoders = {PCMU: "'pcm_*'", PCMA: "'pcm_*'", G722: "adpcm_g722", OPUS: "opus"}
    assert decoders[codec] in listed("decoders")


def test_the_script_has_the_filters_of_the_mastering() -> None:
    text = (ROOT / "moh" / "mastering" / "filter_graphs.py").read_text(encoding="utf-8")
    names = set(re.findall(r"\.filter(?:_multi_output)?\(\s*\"(\w+)\"|ffmpeg\.(?=concat\()(\w+)", text))
    flat = {name for pair in names for name in pair if name}
    assert {"alimiter", "concat"} <= flat
    assert flat <= listed("filters")


def test_the_script_has_what_a_radio_needs() -> None:
    command = radio_command({8000: 1, 16000: 2}, -24.0, False)
    graph = command[command.index("-filter_complex") + 1]
    names = set(re.findall(r"\](\w+)=", graph))
    assert {"dynaudnorm", "alimiter", "asplit"} <= names
    assert names <= listed("filters")
    assert set(ALLOWED_RADIO.split(",")) <= listed("demuxers")
    assert command[command.index("-protocol_whitelist") + 1] in listed("protocols")


def test_the_script_has_the_encoder_of_every_codec() -> None:
    names = {"adpcm_g722" if codec.encoder == "g722" else codec.encoder for codec in CODECS}
    assert names | {"pcm_s16le"} <= listed("encoders")


def test_the_script_has_the_demuxers_of_the_formats_that_are_music_and_no_other() -> None:
    pcm = {"alaw", "mulaw", "s16le"}  # the demuxers of pcm_alaw, ...
    bare = {bare.demuxer for bare in BARE.values()}
    assert pcm < bare
    assert listed("demuxers") == {*FORMATS, *bare - pcm, "'pcm_*'", "mpegts"}, "mpegts is that of radios by HLS"
    assert not listed("demuxers") & set(MORE_FORMATS)


def test_the_script_has_the_decoders_of_the_sounds_that_are_played() -> None:
    assert set(SOUNDS) <= listed("decoders") | listed("newer_decoders")


def test_frames_without_a_header_have_their_parser() -> None:
    """Without its parser, an AMR file of five seconds has 0.16 s, and ffmpeg reports no error."""
    assert {"aac", "ac3", "flac", "g729", "gsm", "mpegaudio"} <= listed("parsers")
    assert "amr" in listed("newer_parsers")


def section(title: str) -> str:
    """Return the text of a section of ``docs/sound.md``."""
    text = (ROOT / "docs" / "sound.md").read_text(encoding="utf-8")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_documentation_lists_what_the_slim_ffmpeg_reads_and_what_the_whole_one_reads() -> None:
    slim, whole = section("File formats").split("Debian's whole ffmpeg", 1)
    whole = whole.partition("\n\n")[0]
    missing = [word for word in (*FORMATS.values(), *SOUNDS.values()) if not re.search(rf"\b{word}\b", slim)]
    missing += [word for word in MORE_FORMATS.values() if word not in whole]
    missing += [ending for ending in BARE if not re.search(rf"`\.{ending}`", slim)]
    assert missing == []


def test_the_documentation_says_at_which_rate_a_bare_file_is_read() -> None:
    rows = [line for line in section("File formats").splitlines() if line.startswith("| `.")]
    for ending, bare in BARE.items():
        (row,) = [row for row in rows if f"`.{ending}`" in row]
        assert bare.words in row and f"{bare.rate / 1000:g}".replace(".", ".") in row, ending


def test_the_script_has_the_protocols_and_muxers_of_the_outputs() -> None:
    assert {"file", "pipe", "rtp", "srtp"} <= listed("protocols")
    assert {"null", "pcm_s16le", "rtp", "wav"} <= listed("muxers")


# -- the build shows that it goes on -------------------------------------------------------------------------------


def compile_with(tmp_path: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run the script's function ``compile`` for a program of ten files. ``command`` stands for ``make``."""
    functions = SCRIPT[SCRIPT.index("fail() {") : SCRIPT.index("if (($# != 1))")]
    script = f"set -euo pipefail; work={tmp_path}\n{functions}\ncompile 5 10 bash -c '{command}'"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=10)


@pytest.mark.parametrize("files", [10, 9])
def test_the_compilation_shows_its_progress(tmp_path: Path, files: int) -> None:
    lines = rf'echo one thing; for n in $(seq {files}); do printf "CC\tlibavcodec/%d.o\n" $n; done'
    ran = compile_with(tmp_path, lines)
    said = [line.rpartition(", ")[2] for line in ran.stdout.splitlines()]
    assert said == [f"compiling it: {share} %" for share in (20, 40, 60, 80, 100)]
    assert ran.stdout.startswith("ffmpeg, which plays the music: step 5 of 5, ")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_compilation_that_fails_shows_all_that_was_printed(tmp_path: Path) -> None:
    ran = compile_with(tmp_path, r'printf "CC\tlibavcodec/1.o\n"; echo no such file >&2; exit 2')
    assert ran.returncode == 1
    assert "no such file" in ran.stderr and "Failed: bash -c" in ran.stderr
    assert "100 %" not in ran.stdout
