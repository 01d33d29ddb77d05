"""Pictures of the tables, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#ccbb44", "#66ccee", "#994455", "#999999")
PANELS = (
    ("cpu", "Processor per call, % of a core", "linear"),
    ("private", "Private memory per call, MB", "linear"),
    ("start_p50", "From start to first packet, median call, ms", "log"),
    ("spacing_p99", "Spacing of packets, 99th percentile, ms", "log"),
)


ENGINES = (
    ("cpu", "Processor per caller, % of a core", "log"),
    ("spacing_p99", "Spacing of packets, 99th percentile, ms", "log"),
    ("jitter", "Jitter, ms", "log"),
    ("late", "Packets more than 5 ms late, %", "linear"),
)
Panels = Sequence[tuple[str, str, str]]


def draw_engines(loads: Mapping[tuple[str, str, int], Sequence[Any]], title: str, path: Path) -> None:
    """Draw four panels for the topology that was measured last."""
    last = list(loads)[-1][0]
    measured = {
        (name, callers): rounds for (topology, name, callers), rounds in loads.items() if topology == last and rounds
    }
    draw(measured, f"{last}, {title}", path, ENGINES)


def draw(measured: Mapping[tuple[str, int], Sequence[Any]], title: str, path: Path, panels: Panels = PANELS) -> None:
    """Draw four panels. Each has a line for each method over the number of calls.

    A bar at each point reaches from the least to the greatest round.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    names = list(dict.fromkeys(name for name, _ in measured))
    counts = sorted({calls for _, calls in measured})
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7))
    for panel, (field, label, scale) in zip(axes.flat, panels):
        for position, name in enumerate(names):
            here = [at for at, calls in enumerate(counts) if measured.get((name, calls))]
            rows = [[getattr(one, field) for one in measured[name, counts[at]]] for at in here]
            middle = list(map(median, rows))
            panel.errorbar(
                # the points are side by side, so that bars do not hide each other
                [at + 0.06 * (position - (len(names) - 1) / 2) for at in here],
                middle,
                yerr=[[m - min(row) for m, row in zip(middle, rows)], [max(row) - m for m, row in zip(middle, rows)]],
                label=name, color=COLOURS[position % len(COLOURS)], marker="o", markersize=4, capsize=3, linewidth=1.5,
            )  # fmt: skip
        panel.set_title(label, fontsize=10)
        panel.set_xticks(range(len(counts)), [str(calls) for calls in counts])
        panel.set_xlabel("calls at once", fontsize=9)
        panel.set_yscale(scale)
        if scale == "linear":
            panel.set_ylim(bottom=0)
        else:
            panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            panel.yaxis.set_minor_locator(ticker.NullLocator())
            panel.set_ylim(panel.get_ylim()[0] / 1.5, panel.get_ylim()[1] * 1.5)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(names), frameon=False)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout(rect=(0, 0.05, 1, 0.99))
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
