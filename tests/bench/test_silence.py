"""The measurement of silence at the seam of a loop. The telephone's band is made by real ffmpeg."""

from __future__ import annotations

import math

from bench.common.silence import in_telephone_band, longest_silence, silence_at


def tone(milliseconds: int, rate: int, hertz: float = 500.0, level: float = 3000.0) -> list[int]:
    return [round(level * math.sin(2 * math.pi * hertz * i / rate)) for i in range(milliseconds * rate // 1000)]


def test_the_whole_silence_that_holds_the_seam_is_measured() -> None:
    for rate in (8000, 16000):
        samples = tone(900, rate) + [0] * (3 * rate) + tone(900, rate)
        for at in (901, 2400, 3899):
            assert abs(silence_at(samples, at * rate // 1000, rate) - 3000) <= 1


def test_music_has_no_silence_at_its_seam_however_long_its_pauses_are() -> None:
    samples = tone(500, 8000) + [0] * 8000 + tone(500, 8000)
    assert silence_at(samples, 2000, 8000) == 0
    assert abs(longest_silence(samples, 8000) - 1000) <= 1


def test_a_click_in_the_silence_does_not_hide_it() -> None:
    samples = tone(500, 8000) + [0] * 8000 + tone(500, 8000)
    samples[8000] = 500
    assert abs(silence_at(samples, 8000, 8000) - 1000) <= 1


def test_a_dip_that_is_shorter_than_the_window_is_no_silence() -> None:
    assert longest_silence(tone(500, 8000) + [0] * 19 * 8 + tone(500, 8000), 8000) == 0


def test_a_hum_is_silence_on_a_telephone() -> None:
    for rate in (8000, 16000):
        samples = tone(900, rate) + tone(2000, rate, 50.0) + tone(900, rate)
        assert longest_silence(samples, rate) == 0
        assert abs(silence_at(in_telephone_band(samples, rate), 2 * rate, rate) - 2000) <= 30
