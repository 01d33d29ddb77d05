"""``/metrics``: from a state to text that Prometheus reads; the fixed sets of labels; the table in docs/metrics.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from moh.common.codecs import CODECS as ALL_CODECS
from moh.guard import media_limits, rate_limit
from moh.http import metrics
from moh.http.metrics import FAMILIES, MOST_NAMES, OTHER, render
from moh.sip import admission, arrival, call, invites, session_timer
from moh.sip.responder import COUNTED
from tests.http.counted import counted_state
from tests.http.names_state import names_state, row

ROOT = Path(__file__).parent.parent.parent
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(state: dict[str, Any]) -> Samples:
    """Return the values in the text of ``/metrics``, by name and labels."""
    families = read_text(render(state)[1].decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families for sample in family.samples
    }  # fmt: skip


def value(state: dict[str, Any], name: str, /, **labels: str) -> float:
    return samples(state)[name, tuple(sorted(labels.items()))]


def test_each_metric_has_a_value() -> None:
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in samples(counted_state())}
    assert names == {family.name for family in FAMILIES}


def test_the_values_are_those_of_the_state() -> None:
    state = counted_state()
    assert value(state, "moh_build_info", version="1.2.3", compiled="yes") == 1
    assert value(state, "moh_start_time_seconds") == 1790000000
    assert (value(state, "moh_draining"), value(state, "moh_busy")) == (0, 0)
    assert (value(state, "moh_ready"), value(state, "moh_stopping"), value(state, "moh_trouble")) == (1, 0, 0)
    assert value(state, "moh_calls") == 3
    assert value(state, "moh_streams", codec="PCMU", engine="shared") == 1
    assert value(state, "moh_calls_answered_total", codec="PCMU", engine="ffmpeg") == 9
    assert value(state, "moh_calls_ended_total", reason="longest call") == 1
    assert value(state, "moh_requests_refused_total", reason="INVITE 488") == 4
    assert value(state, "moh_packets_sent_total", engine="ffmpeg") == 4500
    assert value(state, "moh_receiver_packets_lost_total") == 12
    assert value(state, "moh_music_loudness_lufs") == -24.5
    assert value(state, "moh_loop_bytes") == 57_600_000
    assert value(state, "moh_findings", level="warning") == 1
    assert value(state, "moh_findings", level="error") == 0
    assert value({**state, "trouble": "music.mp3 cannot be played"}, "moh_trouble") == 1


def test_the_buckets_of_a_histogram_add_up() -> None:
    state = counted_state()
    found = [value(state, "moh_packet_lateness_seconds_bucket", le=le) for le in ("0.0001", "0.001", "0.02", "+Inf")]
    assert found == [4000, 4900, 4990, 5000]
    assert value(state, "moh_packet_lateness_seconds_count") == 5000
    assert value(state, "moh_packet_lateness_seconds_sum") == 2.5


def test_texts_in_no_fixed_set_are_counted_together_as_other() -> None:
    state = counted_state()
    state["totals"]["refused"] = {"INVITE 488": 1, 'FOO"}\n 405': 2, "INVITE 999": 3}
    state["totals"]["calls"] = [
        {"codec": "G729", "engine": "tape", "count": 5}, {"codec": None, "count": 1},
        {"codec": "none", "engine": "shared", "count": 3},
    ]  # fmt: skip
    assert value(state, "moh_requests_refused_total", reason=OTHER) == 5
    assert value(state, "moh_calls_answered_total", codec=OTHER, engine=OTHER) == 6
    assert value(state, "moh_calls_answered_total", codec="none", engine="shared") == 3


def test_the_names_of_the_folder_with_their_callers_and_radios() -> None:
    state = counted_state()
    assert value(state, "moh_names", state="refused") == 1
    assert value(state, "moh_names", state="converting") == 0
    assert value(state, "moh_name_calls", name="jazz") == 3
    assert value(state, "moh_name_calls", name="受付 1") == 0
    assert (value(state, "moh_radio_connected", name="news"), value(state, "moh_radio_connected", name="shop")) == (
        1,
        0,
    )
    assert ("moh_radio_connected", (("name", "jazz"),)) not in samples(state)
    assert value(state, "moh_radio_reconnects_total", name="shop") == 2
    assert value(state, "moh_cache_bytes") == 1_234_000_000
    assert value(state, "moh_cache_limit_bytes") == 2 << 30


@pytest.mark.parametrize("names", [None, {}, {"listed": None, "cache": None}, {"listed": [None]}])
def test_without_a_folder_no_name_has_a_sample(names: Any) -> None:
    found = {name for name, _ in samples({**counted_state(), "names": names})}
    assert not {name for name in found if name.startswith(("moh_name", "moh_radio", "moh_cache"))}
    assert "moh_calls" in found


def test_a_radio_has_no_length() -> None:
    state = counted_state()
    state["music"]["live"] = True
    assert ("moh_music_duration_seconds", ()) not in samples(state)


def test_a_name_of_a_file_that_is_no_utf_8_is_a_label() -> None:
    state = counted_state()
    state["names"]["listed"] = [row("jaz\udcff"), row('a"b\n')]
    assert value(state, "moh_name_calls", name="jaz\\udcff") == 0
    assert value(state, "moh_name_calls", name='a"b\n') == 0


def test_counters_begin_at_0_so_that_their_first_event_is_an_increase() -> None:
    state = counted_state()
    state["totals"].update(ended={}, refused={}, calls=[])
    assert value(state, "moh_calls_ended_total", reason="music failed") == 0
    assert value(state, "moh_requests_refused_total", reason="INVITE 503") == 0
    assert value(state, "moh_calls_answered_total", codec="G722", engine="shared") == 0


def test_the_number_of_time_series_has_a_bound() -> None:
    state = counted_state()
    for table in ("ended", "refused", "rejected", "events", "packets"):
        state["totals"][table] = {f"reason {number}": 1 for number in range(10_000)}
    state["totals"]["calls"] = [{"codec": f"X{number}", "engine": "ffmpeg", "count": 1} for number in range(10_000)]
    state["names"] = names_state(more=10_000)
    state["names"]["by_state"] = {f"state {number}": 1 for number in range(10_000)}
    assert len(samples(state)) < 150 + MOST_NAMES


def test_nothing_that_a_caller_sends_is_in_the_text() -> None:
    state = counted_state()
    state["calls"]["listed"] = [{"caller": "mallory@192.0.2.66", "source": "192.0.2.66:5060", "heard": "mallory"}]
    state["ended"] = [{"caller": "mallory@192.0.2.66", "reason": "mallory", "why": "mallory"}]
    state["refusals"] = [{"reason": "INVITE 488", "text": "mallory", "count": 1, "source": "192.0.2.66", "at": 1.0}]
    state["names"]["missing"] = [{"name": "mallory", "count": 1, "at": 1.0}]
    for table in ("ended", "refused", "rejected", "events", "packets"):
        state["totals"][table]["mallory"] = 1
    text = render(state)[1].decode()
    assert "mallory" not in text and "192.0.2" not in text


def test_what_the_state_lacks_has_no_sample() -> None:
    state = counted_state()
    state["music"] = None
    state["totals"]["last_call"] = None
    state["totals"]["skipped"] = float("nan")
    del state["histograms"]["first_packet"], state["findings"], state["calls"]["playing"]
    names = {name for name, _ in samples(state)}
    assert not {name for name in names if name.startswith(("moh_music", "moh_last", "moh_first", "moh_findings"))}
    assert not names & {"moh_packets_skipped_total", "moh_streams"}
    assert "moh_calls" in names
    assert {name for name, _ in samples({})} == {"moh_build_info"}


@pytest.mark.parametrize("accept", [
    "application/openmetrics-text",
    "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,*/*;q=0.1",
])  # fmt: skip
def test_openmetrics_is_sent_if_the_accept_field_names_it(accept: str) -> None:
    kind, body = render(counted_state(), accept)
    assert kind.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    read = read_openmetrics(body.decode())  # type: ignore[no-untyped-call]
    families = {family.name: family.type for family in read}
    assert len(families) == len(FAMILIES)
    assert families["moh_calls_ended"] == "counter" and families["moh_call_setup_seconds"] == "histogram"


@pytest.mark.parametrize("accept", [
    "", "*/*", "text/html,application/xhtml+xml", "text/plain;version=0.0.4",
    "application/openmetrics-text;version=1.x", "application/openmetrics-text;version=x",
    "application/openmetrics-text;version=1.0.0\r\nSet-Cookie: x=1", "application/openmetrics-text;version=１.0.0",
    "application/openmetrics-text;" * 1000,
])  # fmt: skip
def test_any_other_accept_field_gets_the_text_format(accept: str) -> None:
    kind, body = render(counted_state(), accept)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert list(read_text(body.decode()))


# -- the fixed sets are those of the code --------------------------------------------------------------------------


def calls_in(folder: str, *names: str) -> Iterator[ast.Call]:
    """Yield each call of a function or method whose name ends in one of these expressions, below ``moh/folder``."""
    for path in (ROOT / "moh" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.search(rf"\b({'|'.join(names)})$", ast.unparse(node.func)):
                yield node


def constants(nodes: list[ast.expr]) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_the_codecs_and_methods_are_those_of_the_code() -> None:
    assert tuple(codec.name for codec in ALL_CODECS) == metrics.CODECS
    assert (*COUNTED, OTHER) == metrics.METHODS


def test_the_statuses_are_those_of_the_refusals() -> None:
    found = {ast.unparse(each.args[0]) for folder in ("sip", "sdp", "guard") for each in calls_in(folder, "Refusal")}
    assert {text for text in found if text.isdigit()} == set(metrics.STATUSES)
    assert media_limits.TOO_MUCH_MUSIC in metrics.REFUSED


def test_the_reasons_of_ended_calls_are_those_of_the_code() -> None:
    found = constants([each.args[1] for each in calls_in("sip", "hang_up", "_end", "end_at_latest") if each.args[1:]])
    found |= constants([each.args[1] for each in calls_in("rtp", "Verdict")])
    found |= {call.NO_ACK, call.SERVER_FAULT, admission.SERVER_STOPS, invites.NO_ANSWER, "longest call"}
    assert found | {str(status) for status in session_timer.DIALOG_GONE} == set(metrics.ENDED)


def test_the_reasons_of_rejected_datagrams_are_those_of_the_code() -> None:
    assert {rate_limit.TOO_SHORT, *rate_limit.TOO_MANY, "not in MOH_ALLOW"} == set(metrics.REJECTED)


def test_the_events_are_those_of_the_code() -> None:
    found = constants(
        [each.args[0] for each in calls_in("", "log_first", r"_?counters\.count", "count_and_should_log") if each.args]
    )
    found |= {arrival.NOTHING_ARRIVES, arrival.PRIVATE_ADDRESS}
    assert found <= set(metrics.EVENTS)
    assert set(metrics.EVENTS) - found == {"answered, not acknowledged yet", "unacknowledged"}


# -- the page ------------------------------------------------------------------------------------------------------


def test_the_table_of_the_page_is_the_one_in_the_code() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `moh_")]
    assert rows == [
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} | {family.help} |"
        for family in FAMILIES
    ]
