"""The text of ``/metrics``: from the state of the server (``moh/server/state.py``), by prometheus-client.

The law kept here: each label value is from a fixed set in this module, and any other text counts as ``other``; or it
is the name of a file or folder of the owner's, ``MOST_NAMES`` at most. So nothing that a caller sends becomes a label,
and the number of time series has a bound. A value that the state lacks has no sample; it is not 0. But the counts of a
table that the state has begin at 0, so that Prometheus sees the first event as an increase.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

State = Mapping[str, Any]
OTHER = "other"
"""The label value of all that is in no fixed set."""
MOST_ACCEPT = 1000
"""Most characters of an Accept field that is read."""

CODECS = ("PCMU", "PCMA", "G722", "opus")
NO_CODEC = "none"
"""The codec of a call that ended before one was agreed."""
ENGINES = ("ffmpeg", "shared")
ENDED = (
    "BYE", "longest call", "server stops", "session timer", "no ACK", "no answer in the ACK", "RTCP BYE",
    "port unreachable", "host unreachable", "music failed", "server fault",
    "404", "408", "410", "416", "480", "481", "482", "483", "484", "485", "489", "604",
)  # fmt: skip
"""Why calls end: ``Call.ended_by``. A number is the answer by which a caller says that it no longer has the call."""
METHODS = (
    "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE", "INFO", "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH",
    "MESSAGE", "REFER", "PRACK", OTHER,
)  # fmt: skip
STATUSES = (
    "400", "405", "406", "415", "416", "420", "422", "481", "482", "487", "488", "491", "500", "503", "505", "513",
)  # fmt: skip
REFUSED_CALLS = (*(f"INVITE {status}" for status in STATUSES), "music to a silent host")
"""Why calls are refused: SIP method and status, or ``Refusal.counted_as``."""
REFUSED = (*REFUSED_CALLS, *(f"{method} {status}" for method in METHODS[1:] for status in STATUSES))
"""Why requests are refused."""
REJECTED = ("too short", "too many messages", "too many messages that belong to no call", "not in MOH_ALLOW")
"""Why the rate limiter rejects datagrams."""
EVENTS = (
    "answered, not acknowledged yet", "unacknowledged", "not sent to an unvalidated address", "could not be sent",
    "scanner", "nothing arrives", "private address from outside", "name that leads inwards",
    "dialled name without address",
)  # fmt: skip
"""What the server counts beside that."""
LEVELS = ("error", "warning", "note")
NAME_STATES = ("ready", "waiting", "converting", "refused", "full", "connecting", "plays", "away")
"""What may be the state of a name of the music folder; the last three are those of radios."""
RADIO_STATES = NAME_STATES[-3:]
MOST_NAMES = 200
"""Names that have time series of their own."""


class Value(NamedTuple):
    """The value of one time series, and its labels in the order of ``Family.labels``."""

    labels: tuple[str, ...]
    value: Any


class Family(NamedTuple):
    """A metric. ``name`` is the one that Prometheus shows; that of a histogram gets ``_bucket``, ``_sum``, ``_count``.

    ``read`` finds its values in the state.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    read: Callable[[State], Iterable[Value]]


# -- reading the state -----------------------------------------------------------------------------------------------


def _find(state: State, path: str) -> Any:
    """Return the value at ``path``, such as ``totals.packets``; ``None`` without one."""
    found: Any = state
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _number(value: Any) -> Optional[float]:
    """Return ``value`` as a number; ``None`` if it is none, or not finite."""
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _one(path: str) -> Callable[[State], Iterator[Value]]:
    """A metric without labels."""

    def read(state: State) -> Iterator[Value]:
        if (number := _number(_find(state, path))) is not None:
            yield Value((), number)

    return read


def _each(path: str, known: Sequence[str], first: Sequence[str] = ()) -> Callable[[State], Iterator[Value]]:
    """A metric with one label, whose values are the ``known`` keys of a table in the state.

    Those in ``first`` are 0 until they are counted; without ``first`` all ``known`` ones are.
    """
    begin = [((key,), 0) for key in first or known]

    def read(state: State) -> Iterator[Value]:
        table = _find(state, path)
        if isinstance(table, Mapping):
            yield from _added([*begin, *(((_fixed(key, known),), value) for key, value in table.items())])

    return read


def _fixed(text: object, known: Sequence[str]) -> str:
    return text if isinstance(text, str) and text in known else OTHER


def _added(pairs: Iterable[tuple[tuple[str, ...], Any]]) -> Iterator[Value]:
    """Add the numbers with the same labels: several may be ``other``."""
    sums: dict[tuple[str, ...], float] = {}
    for labels, value in pairs:
        if (number := _number(value)) is not None:
            sums[labels] = sums.get(labels, 0) + number
    for labels in sorted(sums):
        yield Value(labels, sums[labels])


def _by_codec(path: str) -> Callable[[State], Iterator[Value]]:
    """Calls by codec and engine, from a list in the state; 0 for each pair without any."""
    begin = [((codec, engine), 0) for codec in CODECS for engine in ENGINES]

    def labels(row: Mapping[str, Any]) -> tuple[str, str]:
        return _fixed(row.get("codec"), (*CODECS, NO_CODEC)), _fixed(row.get("engine"), ENGINES)

    def read(state: State) -> Iterator[Value]:
        found = _find(state, path)
        if isinstance(found, Sequence):
            yield from _added([*begin, *((labels(row), row.get("count")) for row in found)])

    return read


def _delayed(state: State) -> Iterator[Value]:
    found = _find(state, "totals.delayed")
    if isinstance(found, Mapping):
        yield Value((), sum(found.values()))


def _findings(state: State) -> Iterator[Value]:
    """The findings of the check of the set-up by level; 0 for a level without any."""
    found = [each.get("level") for each in state["findings"]] if "findings" in state else None
    if found is not None:
        yield from (Value((level,), found.count(level)) for level in LEVELS)


def _builtin(state: State) -> Iterator[Value]:
    music = state.get("music")
    if isinstance(music, Mapping):
        yield Value((), int(bool(music.get("builtin"))))


def _duration(state: State) -> Iterator[Value]:
    if not _find(state, "music.live"):  # a radio has no end
        yield from _one("music.seconds")(state)


def _rows(state: State) -> list[Mapping[str, Any]]:
    found = _find(state, "names.listed")
    return [row for row in found[:MOST_NAMES] if isinstance(row, Mapping)] if isinstance(found, list) else []


def _label(row: Mapping[str, Any]) -> str:
    """The name in a row as a label. The name of a file may be no UTF-8."""
    return str(row.get("name")).encode("utf-8", "backslashreplace").decode()


def _name_calls(state: State) -> Iterator[Value]:
    yield from _added(((_label(row),), row.get("calls")) for row in _rows(state))


def _radios_connected(state: State) -> Iterator[Value]:
    for row in _rows(state):
        if row.get("state") in RADIO_STATES:
            yield Value((_label(row),), int(row.get("state") == "plays"))


def _radio_reconnects(state: State) -> Iterator[Value]:
    for row in _rows(state):
        if (number := _number(_find(row, "radio.reconnects"))) is not None:
            yield Value((_label(row),), number)


def _trouble(state: State) -> Iterator[Value]:
    if "trouble" in state:
        yield Value((), int(bool(state["trouble"])))


def _build(state: State) -> Iterator[Value]:
    yield Value((str(state.get("version", "")), "yes" if state.get("compiled") else "no"), 1)


def _histogram(name: str) -> Callable[[State], Iterator[Value]]:
    """A histogram: its value is its buckets, from the counts of each bucket to the cumulative ones, and the sum."""

    def read(state: State) -> Iterator[Value]:
        found = _find(state, f"histograms.{name}")
        if not isinstance(found, Mapping):
            return
        total, buckets = 0, []
        for bound, count in zip([*found["bounds"], math.inf], found["counts"]):
            total += count
            buckets.append((floatToGoString(bound), total))  # type: ignore[no-untyped-call]
        yield Value((), (buckets, found["sum"]))

    return read


# -- the metrics -----------------------------------------------------------------------------------------------------

FAMILIES = (
    Family("moh_build_info", "info", ("version", "compiled"), "Version, and whether the core is compiled; 1", _build),
    Family("moh_start_time_seconds", "gauge", (), "When the server started, since 1970", _one("started")),
    Family("moh_ready", "gauge", (), "1 if the server takes calls", _one("ready")),
    Family("moh_draining", "gauge", (), "1 while it takes no more calls, until the next SIGUSR2", _one("draining")),
    Family("moh_busy", "gauge", (), "1 from MOH_BUSY_AT on: OPTIONS is answered by 503", _one("busy")),
    Family("moh_stopping", "gauge", (), "1 from SIGTERM on, while calls may go on", _one("stopping")),
    Family("moh_trouble", "gauge", (), "1 if your music cannot be played, or until that is known", _trouble),
    Family("moh_findings", "gauge", ("level",), "What the check of the set-up has found", _findings),
    Family("moh_calls", "gauge", (), "Calls now", _one("calls.now")),
    Family("moh_streams", "gauge", ("codec", "engine"), "Calls that get music now", _by_codec("calls.playing")),
    Family("moh_calls_answered_total", "counter", ("codec", "engine"), "Calls that began", _by_codec("totals.calls")),
    Family("moh_calls_ended_total", "counter", ("reason",), "Calls that ended", _each("totals.ended", ENDED)),
    Family("moh_last_call_timestamp_seconds", "gauge", (), "When the latest call began, since 1970",
           _one("totals.last_call")),
    Family("moh_requests_refused_total", "counter", ("reason",), "Requests that were refused, by method and status",
           _each("totals.refused", REFUSED, REFUSED_CALLS)),
    Family("moh_datagrams_rejected_total", "counter", ("reason",), "Datagrams that the limits on sources rejected",
           _each("totals.rejected", REJECTED)),
    Family("moh_datagrams_dropped_total", "counter", (), "Datagrams for which no worker had time",
           _one("totals.dropped_datagrams")),
    Family("moh_messages_delayed_total", "counter", (), "Messages by TCP and TLS that waited, since they came too fast",
           _delayed),
    Family("moh_events_total", "counter", ("event",), "What else was counted", _each("totals.events", EVENTS)),
    Family("moh_packets_sent_total", "counter", ("engine",), "Packets of music; those of ffmpeg are an estimate",
           _each("totals.packets", ENGINES)),
    Family("moh_packets_not_sent_total", "counter", (), "Packets of the shared stream that the kernel did not take",
           _one("totals.not_sent")),
    Family("moh_packets_skipped_total", "counter", (), "Packets of the shared stream left out, their time had passed",
           _one("totals.skipped")),
    Family("moh_packet_lateness_seconds", "histogram", (), "How late the packets of the shared stream left",
           _histogram("lateness")),
    Family("moh_call_setup_seconds", "histogram", (), "From the arrival of an INVITE to its 200", _histogram("setup")),
    Family("moh_first_packet_seconds", "histogram", (),
           "From the 200 to the first packet, of calls with an ffmpeg of their own", _histogram("first_packet")),
    Family("moh_ffmpeg_starts_total", "counter", (), "ffmpeg processes that were started for calls",
           _one("totals.ffmpeg_starts")),
    Family("moh_ffmpeg_restarts_total", "counter", (), "Of these, those that replaced one that had ended by itself",
           _one("totals.ffmpeg_restarts")),
    Family("moh_receiver_packets_expected_total", "counter", (), "Packets that receivers expected, by their RTCP",
           _one("totals.reported_expected")),
    Family("moh_receiver_packets_lost_total", "counter", (), "Of these, the packets that did not arrive",
           _one("totals.reported_lost")),
    Family("moh_unexpected_errors_total", "counter", (), "Exceptions that no code expected; the log has them",
           _one("totals.unexpected_errors")),
    Family("moh_music_builtin", "gauge", (), "1 if the built-in piece plays", _builtin),
    Family("moh_music_duration_seconds", "gauge", (), "How long the music is until it begins again",
           _duration),
    Family("moh_music_loudness_lufs", "gauge", (), "How loud the music is, in LUFS (EBU R 128)",
           _one("music.loudness")),
    Family("moh_names", "gauge", ("state",), "Names in the music folder", _each("names.by_state", NAME_STATES)),
    Family("moh_name_calls", "gauge", ("name",), "Calls that hear the music of a name now", _name_calls),
    Family("moh_radio_connected", "gauge", ("name",), "1 if the radio of a name sends, 0 while other music stands in",
           _radios_connected),
    Family("moh_radio_reconnects_total", "counter", ("name",), "How often a radio was connected to again",
           _radio_reconnects),
    Family("moh_cache_bytes", "gauge", (), "Converted music of the names on the disk", _one("names.cache.used")),
    Family("moh_cache_limit_bytes", "gauge", (), "Most that moh_cache_bytes may be", _one("names.cache.limit")),
    Family("moh_loop_bytes", "gauge", (), "Encoded music that the shared stream keeps in memory", _one("loops.octets")),
)  # fmt: skip
"""All metrics, in the order of ``/metrics`` and of docs/metrics.md."""


class StateCollector:
    """Makes the metrics of one state, for a registry of prometheus-client."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Yield each metric that has a value."""
        for family in FAMILIES:
            if values := list(family.read(self._state)):
                yield _metric(family, values)


def _metric(family: Family, values: Iterable[Value]) -> Metric:
    name, text, labels = family.name, f"{family.help}.", family.labels
    if family.kind == "info":
        info = InfoMetricFamily(name.removesuffix("_info"), text)
        for each in values:
            info.add_metric([], dict(zip(labels, each.labels)))
        return info
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, text)
        for each in values:
            buckets, total = each.value
            histogram.add_metric([], buckets, total)
        return histogram
    metric: Union[CounterMetricFamily, GaugeMetricFamily] = (
        CounterMetricFamily(name, text, labels=labels)
        if family.kind == "counter"
        else GaugeMetricFamily(name, text, labels=labels)
    )
    for each in values:
        metric.add_metric(each.labels, each.value)
    return metric


def render(state: State, accept: str = "") -> tuple[str, bytes]:
    """Return the type and the body of the answer: Prometheus' own text, or OpenMetrics if ``accept`` names it.

    ``accept`` is the Accept field of the request, and may hold anything.
    """
    registry = CollectorRegistry()
    registry.register(StateCollector(state))
    usable = accept if len(accept) <= MOST_ACCEPT and accept.isascii() and accept.isprintable() else ""
    try:
        encode, kind = choose_encoder(usable)
    except TypeError:  # prometheus-client cannot compare a version such as 1.x
        encode, kind = choose_encoder("")
    return kind, encode(registry)
