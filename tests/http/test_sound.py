"""End to end: ffmpeg encodes and decodes music, and the result is a WAV file that a browser plays."""

from __future__ import annotations

import math
import os
import shutil
import wave
from array import array
from pathlib import Path

import pytest

from moh.common.codecs import CODECS, G722, OPUS, PCMU, Codec
from moh.http import sound as module
from moh.http.sound import BARS, ENCODED, CannotMake, decode_command, encode_command, make_sound, waveform

RATES = (8000, 16000)


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Two seconds of 440 Hz, the second one at half the level, at each rate of the converted music."""
    folder = tmp_path_factory.mktemp("tone")
    for rate in RATES:
        samples = array("h")
        for number in range(2 * rate):
            level = 16000 if number < rate else 8000
            samples.append(round(level * math.sin(2 * math.pi * 440 * number / rate)))
        with wave.open(str(folder / f"{rate}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.tobytes())
    return {rate: folder / f"{rate}.wav" for rate in RATES}


def test_each_codec_has_a_way_from_its_encoder_to_its_decoder() -> None:
    assert set(ENCODED) == set(CODECS)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.name))
def test_the_music_sounds_as_the_codec_makes_it_sound(codec: Codec, tone: dict[int, Path]) -> None:
    made = make_sound(tone[codec.sample_rate], codec)
    with wave.open(made.open()) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, codec.sample_rate)
        samples = array("h", file.readframes(file.getnframes()))
    assert len(samples) == pytest.approx(2 * codec.sample_rate, abs=codec.sample_rate // 50)
    assert made.size == 44 + 2 * len(samples)
    middle = samples[codec.sample_rate // 4 : codec.sample_rate * 3 // 4]
    assert max(middle) == pytest.approx(16000, rel=0.1)
    crossings = sum(a < 0 <= b for a, b in zip(middle, middle[1:]))
    assert crossings == pytest.approx(220, abs=2), "it is the tone"
    original = array("h", tone[codec.sample_rate].read_bytes()[44:])
    assert samples != original[: len(samples)], "it was encoded"
    assert made.waveform["codec"] == codec.name
    assert made.waveform["seconds"] == pytest.approx(2.0, abs=0.03)


def test_the_file_has_no_name_and_each_reader_has_its_own_position(tone: dict[int, Path]) -> None:
    made = make_sound(tone[8000], PCMU)
    assert " (deleted)" in os.readlink(f"/proc/self/fd/{made.file.fileno()}")
    with made.open() as one, made.open() as other:
        one.seek(1000)
        assert other.read(4) == b"RIFF"
        assert one.tell() == 1000


def test_only_the_beginning_of_long_music_is_made(tone: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 1)
    assert make_sound(tone[8000], PCMU).size == 44 + 2 * 8000


def test_music_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotMake, match="No such file or directory"):
        make_sound(tmp_path / "gone.wav", G722)


def test_an_ffmpeg_that_lacks_the_muxer_says_so(tone: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODED, OPUS, ("nosuchmuxer", "ogg"))
    with pytest.raises(CannotMake, match="nosuchmuxer"):
        make_sound(tone[16000], OPUS)


def test_without_ffmpeg_there_is_no_sound(
    tone: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotMake, match="ffmpeg does not run: No such file or directory"):
        make_sound(tone[8000], PCMU)


def test_an_ffmpeg_that_hangs_is_killed(tone: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = tmp_path / "ffmpeg"
    hangs.write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 60\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(module, "TIME_LIMIT", 0.2)
    with pytest.raises(CannotMake, match=r"ffmpeg has not ended within 0\.2 s"):
        make_sound(tone[8000], PCMU)


def test_the_commands_read_no_other_file_and_no_network() -> None:
    for codec in CODECS:
        encode, decode = encode_command(Path("x.wav"), codec), decode_command(codec)
        assert encode.index("-protocol_whitelist") < encode.index("-i") and "file:x.wav" in encode
        assert decode.index("-protocol_whitelist") < decode.index("-i") and "pipe:0" in decode
        assert "-nostdin" in encode + decode


# -- the waveform --------------------------------------------------------------------------------------------------


def test_the_waveform_has_peak_and_rms_of_each_piece() -> None:
    quiet, loud = array("h", [100, -100] * 1000), array("h", [16384, -32768] * 1000)
    found = waveform((quiet + loud).tobytes())
    assert len(found["peaks"]) == len(found["rms"]) == BARS
    assert set(found["peaks"][:200]) == {0.0031} and set(found["peaks"][200:]) == {1.0}
    assert set(found["rms"][200:]) == {0.7906}


@pytest.mark.parametrize("samples", [0, 1, 399, 401])
def test_the_waveform_of_a_short_sound_has_no_empty_piece(samples: int) -> None:
    found = waveform(array("h", [1] * samples).tobytes())
    assert len(found["peaks"]) == min(samples, BARS)


def test_half_a_sample_is_left_out() -> None:
    assert waveform(b"\x00\x40\x01") == {"peaks": [0.5], "rms": [0.5]}
