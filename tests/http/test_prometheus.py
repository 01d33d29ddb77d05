"""End to end: a Prometheus (Debian: prometheus) scrapes a server each second while SIPp calls it."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from moh.http.metrics import FAMILIES
from tests.http.test_promtool import promtool
from tests.support.peers import SCENARIOS, program, run_sipp
from tests.support.phone import Ear
from tests.support.running import Running, free_ports, wait_for

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "moh-dashboard.json"
ALERTS = ["MohDown", "MohMusicStalls", "MohCallersUnserved", "MohRadioAway", "MohNameRefused"]
CALLS = 2
"""One by an ffmpeg of its own, one by the shared stream."""


class Prometheus:
    """A Prometheus in its own process. ``port`` is the one of its API, ``page`` that of the server's page."""

    def __init__(self, config: Path, folder: Path, page: int) -> None:
        self.port, self.page = free_ports(1), page
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus", "prometheus"), f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def ask(self, path: str) -> Any:
        """Return the data of an answer of the API; ``None`` while there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"/api/v1/{path}")
            answer = json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            return None
        finally:
            connection.close()
        assert answer["status"] == "success", (path, answer)
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each time series that ``expression`` gives now."""
        found = self.ask(f"query?query={quote(expression)}")
        return [(each["metric"], float(each["value"][1])) for each in found["result"]] if found else []

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Prometheus]:
    """A Prometheus that has seen two calls of SIPp come and go, with the configuration of ``deploy``."""
    program("prometheus", "prometheus"), program("sipp", "sip-tester")
    folder, page = tmp_path_factory.mktemp("prometheus"), free_ports(1)
    text = CONFIG.read_text(encoding="utf-8").replace("15s", "1s").replace("127.0.0.1:8080", f"127.0.0.1:{page}")
    config = folder / "prometheus.yml"
    config.write_text(text.replace("- alerts.yml", f"- {CONFIG.with_name('alerts.yml')}"), encoding="utf-8")
    with ExitStack() as stack:
        music = folder / "music"
        music.mkdir()
        shutil.copy(ROOT / "moh" / "builtin.mp3", music / "default.mp3")
        (music / "news.url").write_text("http://127.0.0.1:1/live\n")  # nothing answers there
        settings = {"MOH_HTTP": f"127.0.0.1:{page}", "MOH_FFMPEG_CALLS": "1", "MOH_MUSIC": str(music)}
        server = Running(folder, music_cache, **settings)
        stack.enter_context(server).ready()
        found = stack.enter_context(Prometheus(config, folder, page))
        wait_for(lambda: found.query('moh_calls_answered_total{job="moh"}'), "the first scrape")
        wait_for(lambda: found.query('moh_radio_reconnects_total{job="moh"}'), "the radio")
        ears = [stack.enter_context(Ear(f"127.0.2.{number}")) for number in range(1, CALLS + 1)]
        longer = folder / "longer.xml"  # the page reads the state once a second
        longer.write_text((SCENARIOS / "hold.xml").read_text().replace('milliseconds="2000"', 'milliseconds="3500"'))
        counts = run_sipp(str(longer.with_suffix("")), server, [ear.address for ear in ears], folder, CALLS)
        assert (counts["SuccessfulCall"], counts["FailedCall"]) == (CALLS, 0)
        wait_for(lambda: found.query(f'moh_calls_ended_total{{reason="BYE"}} == {CALLS}'), "the end of the calls")
        yield found
        assert "Traceback" not in server.log, server.log


def test_it_sees_the_calls_come_and_go(prometheus: Prometheus) -> None:
    assert [value for _, value in prometheus.query("max_over_time(moh_calls[1m])")] == [CALLS]
    assert [value for _, value in prometheus.query("moh_calls")] == [0]
    begun = {
        (labels["codec"], labels["engine"]): value
        for labels, value in prometheus.query("moh_calls_answered_total > 0")
    }  # fmt: skip
    assert begun == {("PCMU", "ffmpeg"): 1, ("PCMU", "shared"): 1}
    assert [labels["reason"] for labels, _ in prometheus.query("increase(moh_calls_ended_total[1m]) > 0")] == ["BYE"]
    for labels, value in prometheus.query("moh_packets_sent_total"):
        assert 50 < value < 400, f"{labels}: as many as of 3.5 s, less those that a busy machine leaves out"


def test_it_sees_how_late_packets_were_and_how_long_callers_waited(prometheus: Prometheus) -> None:
    assert prometheus.query("moh_packet_lateness_seconds_count > 50")
    assert [value for _, value in prometheus.query("moh_call_setup_seconds_count")] == [CALLS]
    for name in ("moh_packet_lateness_seconds", "moh_call_setup_seconds", "moh_first_packet_seconds"):
        [(_, seconds)] = prometheus.query(f"histogram_quantile(0.5, {name}_bucket)")
        assert 0 < seconds < 5, name


def test_prometheus_sees_the_names_of_the_folder(prometheus: Prometheus) -> None:
    assert {labels["state"] for labels, _ in prometheus.query("moh_names > 0")} == {"away", "ready"}
    assert [labels["name"] for labels, _ in prometheus.query("moh_radio_connected == 0")] == ["news"]
    [(labels, most)] = prometheus.query("max_over_time(moh_name_calls[1m]) > 0")
    assert (labels["name"], most) == ("default", CALLS)


def test_it_gets_every_metric(prometheus: Prometheus) -> None:
    names = {labels["__name__"] for labels, _ in prometheus.query('{job="moh", __name__=~"moh_.*"}')}
    missing = {family.name for family in FAMILIES} - {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert not missing


def test_promtool_finds_no_fault_in_the_metrics_of_the_server(prometheus: Prometheus) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", prometheus.page, timeout=5)
    connection.request("GET", "/metrics")
    promtool("check", "metrics", given=connection.getresponse().read())
    connection.close()


def test_the_alerts_are_loaded_and_none_is_raised(prometheus: Prometheus) -> None:
    [group] = prometheus.ask("rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == ALERTS
    wait_for(lambda: {rule["health"] for rule in prometheus.ask("rules")["groups"][0]["rules"]} == {"ok"}, "a turn")
    assert [rule["state"] for rule in prometheus.ask("rules")["groups"][0]["rules"]] == [
        "pending" if name == "MohRadioAway" else "inactive"
        for name in ALERTS  # it is away for seconds only
    ]


def expressions() -> list[str]:
    """Return all expressions of the dashboard, with values in place of Grafana's variables."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [expr.replace("$__rate_interval", "10s").replace("$instance", ".*") for expr in found]


@pytest.mark.parametrize("expression", expressions())
def test_each_expression_of_the_dashboard_gives_a_result(prometheus: Prometheus, expression: str) -> None:
    assert prometheus.query(expression)
