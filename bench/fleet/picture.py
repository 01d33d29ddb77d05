"""The picture of ``python -m bench.fleet failover``, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.common.plots import COLOURS
from bench.fleet.events import Bin, Event
from bench.fleet.phones import Call


def draw(
    found: Sequence[Bin], calls: Sequence[Call], moments: Sequence[Event], servers: Sequence[str], path: Path
) -> None:
    """Draw the calls that hear music, the new calls, and their set-up times; a line for each of ``moments``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    origin = calls[0].began
    times = [one.at for one in found]
    figure, (music, new, set_up) = pyplot.subplots(
        3, 1, figsize=(10, 8), sharex=True, gridspec_kw={"height_ratios": [3, 1.5, 2]}
    )
    names = [f"server {number + 1}" for number in range(len(servers))]
    layers = [[one.hearing[number] for one in found] for number in range(len(servers))]
    music.stackplot(times, layers, labels=names, colors=COLOURS[: len(servers)], linewidth=0)
    music.set_ylabel("calls that hear music")
    music.legend(loc="lower right", ncols=len(servers), fontsize=9)
    size = found[1].at - found[0].at
    rates = [[count / size for count in column] for column in zip(*((one.answered, one.failed) for one in found))]
    new.stackplot(times, rates, labels=["answered", "failed"], colors=["#bbbbbb", "#cc3311"], linewidth=0)
    new.set_ylabel("new calls a second")
    new.legend(loc="lower right", ncols=2, fontsize=9)
    good = [call for call in calls if call.answered is not None]
    set_up.plot(
        [call.began - origin for call in good], [max(0.5, call.set_up()) for call in good], ".", markersize=2,
        color=COLOURS[0],
    )  # fmt: skip
    set_up.set_yscale("log")
    set_up.set_ylabel("INVITE to 200, ms")
    set_up.set_xlabel("seconds since the first call")
    top = music.get_ylim()[1]
    for number, event in enumerate(moments):
        for panel in (music, new, set_up):
            panel.axvline(event.at - origin, color="black", linewidth=0.8, linestyle=":")
            panel.spines[["top", "right"]].set_visible(False)
        music.text(
            event.at - origin + 0.3,
            top * (1.02 + 0.06 * (number % 2)),
            event.name,
            fontsize=9,
            verticalalignment="bottom",
        )
    set_up.set_xlim(0, times[-1])
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
