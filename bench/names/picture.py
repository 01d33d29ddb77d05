"""The picture of the measurement: levels, the joints as waves, and the gain of the music under the announcements."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from bench.common.plots import COLOURS
from bench.names.figures import RATE
from bench.names.material import PIECES

OVER = RATE // 10
"""Samples of which one level is drawn."""
WAVE = RATE * 30 // 1000
"""Samples on each side of a joint whose wave is drawn: 30 ms."""


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw what ``bench.names.joints`` has found."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    figure = pyplot.figure(figsize=(10.5, 10), layout="constrained")
    rows = figure.subfigures(3, 1, height_ratios=(1.15, 0.8, 0.9))
    levels, announced = rows[0].subplots(2, 1, sharex=True)
    _levels(levels, found["plain"], "Three pieces in a row, as heard by PCMU: level of each 0.1 s")
    ends = [*found["begins"][1:], found["joints"][-1]]
    for name, begin, end, loudness in zip(PIECES, found["begins"], ends, found["loudness"]):
        levels.axvline(end / RATE, color="black", linewidth=0.8)
        levels.text((begin + end) / 2 / RATE, -3, f"{name}: {loudness:.1f} LUFS", ha="center", va="top", fontsize=8)
    title = next(name for name in found if name.startswith("at the joints"))
    _levels(announced, found[title], "The same with announcements at the joints (shaded, with their ramps)")
    for begin, end in found[f"windows {title}"]:
        announced.axvspan(begin, end, color=COLOURS[4], alpha=0.35, linewidth=0)
    announced.set_xlabel("seconds of the call", fontsize=8)
    for number, (axis, at) in enumerate(zip(rows[1].subplots(1, 3, sharey=True), found["joints"])):
        wave = found["plain"][at - WAVE : at + WAVE] / 32768
        axis.plot(1000 * (np.arange(len(wave)) - WAVE) / RATE, wave, color=COLOURS[0], linewidth=0.8)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(f"joint from piece {number + 1} to {(number + 1) % len(PIECES) + 1}", fontsize=9)
        axis.set_xlabel("milliseconds", fontsize=8)
    gains = rows[2].subplots(1, 1)
    number = 0
    for name, lowerings in found.items():
        if name.startswith("lowered"):
            for one in lowerings:
                gains.plot(one.seconds, one.gain, ".", markersize=3, color=COLOURS[number % len(COLOURS)])
                number += 1
            last = lowerings[-1]
            gains.plot(last.seconds, last.wanted, color="black", linewidth=0.8)
    gains.set_title(
        f"Gain of the music around {number} announcements, each 40 ms (dots), and as planned (line), in dB", fontsize=9
    )
    gains.set_xlabel("seconds from the first word", fontsize=8)
    gains.set_ylim(-20, 3)
    for axis in figure.get_axes():
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    pyplot.close(figure)
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)


def _levels(axis: Any, sound: np.ndarray, title: str) -> None:
    parts = sound[: len(sound) // OVER * OVER].reshape(-1, OVER)
    levels = 10 * np.log10(np.maximum(1e-9, np.mean((parts / 32768) ** 2, axis=1)))
    axis.plot((np.arange(len(levels)) + 0.5) * OVER / RATE, levels, color=COLOURS[0], linewidth=0.8)
    axis.set_title(title, fontsize=9)
    axis.set_ylabel("dBFS", fontsize=8)
    axis.set_ylim(-70, 0)
