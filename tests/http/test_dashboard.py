"""The dashboard for Grafana: its panels, and that it asks for metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from moh.http.metrics import FAMILIES

ROOT = Path(__file__).parent.parent.parent
BOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "moh-dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]


def names_in(text: str) -> set[str]:
    """Return the metrics that an expression names, without the endings of histograms."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bmoh_\w+", text)}


def test_each_metric_of_the_dashboard_and_the_alerts_exists() -> None:
    known = {family.name for family in FAMILIES}
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    assert names_in(alerts) - known == set()
    assert names_in(json.dumps(BOARD)) - known == set()


def test_the_dashboard_shows_nearly_all_metrics() -> None:
    shown = names_in("\n".join(target["expr"] for panel in PANELS for target in panel["targets"]))
    assert {family.name for family in FAMILIES} - shown == {
        "moh_stopping", "moh_draining", "moh_busy", "moh_music_builtin", "moh_music_duration_seconds"
    }  # fmt: skip


def test_the_panels_have_names_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_asks_the_chosen_prometheus_about_the_chosen_server(panel: dict[str, Any]) -> None:
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == sorted(set(letters))
    for each in [panel, *panel["targets"]]:
        assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        selectors = re.findall(r"(?:moh_\w+|\bup)\{([^}]*)\}", target["expr"])
        assert selectors
        assert all('job="moh", instance=~"$instance"' in selector for selector in selectors)
