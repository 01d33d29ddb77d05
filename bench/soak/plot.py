"""A picture of a soak, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.common.plots import COLOURS
from bench.soak.sample import Sample

PANELS = (
    ("Memory of the server, MB", (("rss", "RSS"), ("private", "private"))),
    ("Calls", (("calls", "all"), ("by_ffmpeg", "by ffmpeg"), ("shared", "in the shared stream"))),
    ("Taken", (("ports", "RTP ports"), ("processes", "processes"), ("descriptors", "descriptors"),
               ("threads", "threads"))),
)  # fmt: skip


def draw_soak(samples: Sequence[Sample], after: Sample, warm_up: float, title: str, path: Path) -> None:
    """Draw three panels over the minutes. The warm-up is grey; a cross marks the sample at rest."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, figsize=(9, 8), sharex=True)
    minutes = [each.minute for each in samples]
    for panel, (label, fields) in zip(axes, PANELS):
        panel.axvspan(0, warm_up, color="#dddddd", alpha=0.6, linewidth=0)
        for position, (field, name) in enumerate(fields):
            colour = COLOURS[position]
            panel.plot(minutes, [getattr(each, field) for each in samples], label=name, color=colour, linewidth=1.2)
            panel.plot([after.minute], [getattr(after, field)], marker="x", color=colour, markersize=7)
        panel.set_title(label, fontsize=10)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    axes[-1].set_xlabel("minutes; grey: warm-up; crosses: at rest, after the last call", fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
