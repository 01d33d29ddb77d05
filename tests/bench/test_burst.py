"""The tables of ``bench.playing.burst``, and what it reads of an answer."""

from __future__ import annotations

from dataclasses import fields

from bench.playing.burst import Burst, Variant, arguments, music_port, tables


def run(p99_before: float = 20.0, p99_during: float = 21.0, first_p99: float = 50.0) -> Burst:
    others = {each.name: 0.0 for each in fields(Burst)}
    return Burst(**{**others, "p99_before": p99_before, "p99_during": p99_during, "first_p99": first_p99})


def test_the_port_of_the_music_is_read_from_the_answer() -> None:
    assert music_port("SIP/2.0 200 OK\r\n\r\nv=0\r\nm=audio 10100 RTP/AVP 0\r\n") == 10100
    assert music_port("SIP/2.0 200 OK\r\n\r\n") == 0


def test_the_ratios_are_of_figures_of_the_same_run_and_round() -> None:
    now, former = Variant("this", "slim", 0), Variant("against", "slim", 0)
    text = tables(
        {
            former: [run(first_p99=200.0), run(first_p99=400.0)],
            now: [run(), run(p99_during=30.0)],
        }
    )
    *_, last = text.splitlines()
    assert "x 1.27 (1.05-1.50)" in last
    assert "x 0.19 (0.12-0.25)" in last


def test_each_ffmpeg_is_measured_with_each_number_of_busy_processes() -> None:
    given = arguments(["--ffmpeg", "slim=/x/ffmpeg", "--ffmpeg", "debian=/y/ffmpeg", "--busy", "0,2"])
    assert [(each.ffmpeg, each.busy) for each in given.variants] == [
        ("slim", 0), ("debian", 0), ("slim", 2), ("debian", 2),
    ]  # fmt: skip
