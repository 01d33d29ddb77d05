"""The state of the running server, as plain data for JSON: what the page, the metrics and ``--check`` show.

Times are seconds of the Unix epoch, lengths of time are seconds. Each number is finite. Texts of callers, such as names
and reasons, may hold anything: whatever shows them has to escape them. SRTP keys are nowhere in it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from .. import __version__
from ..common.codecs import Codec
from ..common.config import ON_HOST, Settings
from ..common.counters import Latest
from ..common.histogram import Histogram
from ..guard.media_limits import TOO_MUCH_MUSIC
from ..mastering.owner_name import owner_name
from ..mastering.prepare import BUILTIN, Music
from ..mastering.report import gain_of, loudness_of
from ..net.routes import is_ours
from ..sip.history import MOST_ENDED, EndedCall
from ..sip.snapshot import CallSnapshot
from .call_list import CallList
from .compiled import is_compiled
from .library import Library
from .named_music import NamedMusic
from .names_state import NamesState
from .now_playing import NowPlaying
from .statistics import Counts, Statistics

MOST_LISTED = 200
"""Calls that are listed, the newest."""
AT_ONCE = 20
"""Calls that are read at once, in a fifth of a millisecond."""
ENDED_BY = "ended by "
"""How the names begin under which the ends of calls are counted."""
REFUSED = re.compile(rf"\w+ [3-6]\d\d|{re.escape(TOO_MUCH_MUSIC)}")
"""The names under which refused requests are counted."""
WARNING = "warning"
"""The kind of an event that refused nothing, such as music that seems to reach no receiver."""

USUAL = ("answered, not acknowledged yet",)
"""Reasons of events that belong to each call from the internet: they are counted, and not shown as warnings."""
TESTER = "201"
"""The user that ``test_sip_client.py`` and ``--check`` call as."""

Json = dict[str, Any]


class State:
    """Reads the state. Only one thread at a time may call ``read``."""

    def __init__(
        self, settings: Settings, codecs: Sequence[Codec], statistics: Statistics, now_playing: NowPlaying,
        environment: Mapping[str, str] = os.environ, library: Optional[Library] = None,
    ) -> None:  # fmt: skip
        """``library`` is there where the owner has a music folder."""
        self.findings: Callable[[Json], list[Json]] = lambda state: []
        """What the doctor finds in a state; it is set when the check at the start is done."""
        self._settings = settings
        self._codecs = [codec.name for codec in codecs]
        self._statistics = statistics
        self._now_playing = now_playing
        self._shown_settings = settings_rows(environment)
        self._started = time.monotonic()
        engines = statistics.engines
        agent, lock = statistics.agent, statistics.lock
        self._calls = CallList(agent, lock, engines.packets_sent)
        self._names = None if library is None else NamesState(library, agent, lock)
        self._named: Optional[Music] = None  # the music that ``_name`` is of: to find it takes files to be read
        self._name = ""
        self._ended: list[tuple[EndedCall, Json]] = []  # the newest first; the rows are made once

    @property
    def has_music(self) -> bool:
        """Whether callers hear music: the owner's, or the built-in piece until that is converted."""
        return self._now_playing.music is not None

    def read(self) -> Json:
        """The state now. This takes some milliseconds, in small steps."""
        now = time.monotonic()
        epoch = time.time() - now
        counts, agent = self._statistics.counts(), self._statistics.agent
        latest = latest_rows(counts, epoch)
        found: Json = {
            "version": __version__,
            "compiled": is_compiled(),
            "pid": os.getpid(),
            "now": epoch + now,
            "started": epoch + self._started,
            "ready": agent.ready and not self._now_playing.failure,
            "stopping": agent.closing,
            "draining": agent.admission.draining,
            "busy": agent.is_busy,
            "trouble": agent.health.text or self._now_playing.failure,
            "uri": self._now_playing.uri,
            "uri_advice": self._now_playing.advice,
            "settings": self._shown_settings,
            "music": self._music(epoch),
            "names": None if self._names is None else self._names.read(epoch),
            "codecs": self._codecs,
            "calls": {"now": counts.calls, "listed": self._listed(epoch + now), "playing": self._playing()},
            "ended": self._ended_rows(epoch),
            "refusals": [row for row in latest if row["kind"] != WARNING],
            "warnings": [row for row in latest if row["kind"] == WARNING],
            "loops": {"octets": self._statistics.engines.shared.loops.octets},
            "totals": self._totals(counts, epoch),
            "histograms": {
                "lateness": histogram(self._statistics.engines.shared.lateness()),
                "setup": histogram(self._statistics.set_up),
                "first_packet": histogram(self._statistics.history.first_packet),
            },
        }
        return {**found, "findings": self.findings(found)}

    def _playing(self) -> list[Json]:
        """How many calls get music now, by codec and engine."""
        playing = self._statistics.engines.playing().items()
        return [{"codec": codec, "engine": engine, "count": count} for (codec, engine), count in playing]

    def _music(self, epoch: float) -> Optional[Json]:
        played = self._now_playing.music
        if played is None:
            return None
        music = played.music
        if self._named is not music:
            self._named, self._name = music, os.path.basename(owner_name(music.source))
        return {
            "name": self._name,
            "builtin": music.source == BUILTIN,
            "live": isinstance(music, NamedMusic) and music.is_live,
            "since": epoch + played.since,
            "seconds": music.seconds,
            "loudness": loudness_of(music.report, self._settings.loudness),
            "gain": gain_of(music.report),
            "number": played.number,
            "summary": music.summary(),
            "files": {str(rate): os.path.abspath(path) for rate, path in music.paths.items()},
        }

    def _listed(self, now: float) -> list[Json]:
        """The newest calls, the newest first."""
        found: list[Json] = []
        for row in reversed(self._calls.rows(MOST_LISTED, AT_ONCE)):
            found.append(self._row(row.call, row.packets_sent, now))
            if len(found) % AT_ONCE == 0:
                time.sleep(0)  # it releases the interpreter's lock, so that no packet of music waits for a list
        return found

    def _row(self, call: CallSnapshot, packets: Optional[int], now: float) -> Json:
        found = call_row(call, now)
        if packets is not None:
            found.update(packets=packets, packets_estimated=False)
        if call.shared:
            found["lateness"] = self._statistics.engines.lateness(call.id)
        return found

    def _ended_rows(self, epoch: float) -> list[Json]:
        newest = self._ended[0][0].call.id if self._ended else ""
        with self._statistics.lock:
            ended = self._statistics.history.ended(newest)
        self._ended = [(each, ended_row(each, epoch)) for each in ended] + self._ended
        del self._ended[MOST_ENDED:]
        for each, row in self._ended:  # the wall clock may have been set since the row was made
            row["ended"] = epoch + each.at
            row["answered"] = epoch + each.at - each.call.age
        return [row for _, row in self._ended]

    def _totals(self, counts: Counts, epoch: float) -> Json:
        history, engines = self._statistics.history, self._statistics.engines
        events = counts.events.items()
        return {
            "calls": [
                {"codec": codec, "engine": "shared" if shared else "ffmpeg", "count": count}
                for (codec, shared), count in list(history.calls.items())
            ],
            "ended": {name[len(ENDED_BY) :]: count for name, count in events if name.startswith(ENDED_BY)},
            "refused": {name: count for name, count in events if REFUSED.fullmatch(name)},
            "rejected": counts.rejected,
            "delayed": counts.delayed,
            "events": {
                name: count for name, count in events if not (name.startswith(ENDED_BY) or REFUSED.fullmatch(name))
            },
            "answered": history.answered,
            "last_call": None if history.answered_at is None else epoch + history.answered_at,
            "packets": {"ffmpeg": engines.ffmpegs.packets(), "shared": counts.shared.sent},
            "not_sent": counts.shared.lost,
            "skipped": counts.shared.skipped,
            "ffmpeg_starts": engines.ffmpegs.starts,
            "ffmpeg_restarts": engines.ffmpegs.retries + history.restarts,
            "unexpected_errors": counts.unexpected_errors,
            "dropped_datagrams": counts.dropped,
            "reported_lost": history.reported_lost,
            "reported_expected": history.reported_expected,
        }


def settings_rows(environment: Mapping[str, str]) -> list[Json]:
    """The settings in force, as the owner wrote them."""
    rows = []
    for name, default, help_text in Settings.table():
        given = environment.get(name, "").strip()
        if given and name in ON_HOST:
            given = environment.get(ON_HOST[name], "").strip() or given
        rows.append({"name": name, "value": given or default, "default": default, "help": help_text})
    return rows


def call_row(call: CallSnapshot, now: float) -> Json:
    """A call, as all lists show it."""
    named = call.reception.named > 0
    return {
        "id": call.id[:8],
        "caller": call.caller,
        "dialled": call.dialled,
        "name": call.name,
        "source": str(call.source),
        "test": call.caller == f"{TESTER}@{call.source.host}" and is_ours(call.source.host),
        "transport": call.transport.lower(),
        "answered": now - call.age,
        "age": call.age,
        "state": call.state,
        "played": call.played,
        "codec": call.codec,
        "ptime": call.ptime,
        "receiver": None if call.receiver is None else str(call.receiver),
        "port": call.port,
        "engine": "shared" if call.shared else "ffmpeg",
        "encrypted": call.encrypted,
        "packets": int(call.played * 1000 / call.ptime) if call.ptime else 0,
        "packets_estimated": True,
        "lateness": None,
        "loss": call.reception.loss if named else None,
        "jitter": call.reception.jitter if named else None,
        "reported_before": call.reported_before,
        "heard": call.heard,
    }


def ended_row(ended: EndedCall, epoch: float) -> Json:
    """A call that has ended."""
    at = epoch + ended.at
    return {**call_row(ended.call, at), "ended": at, "reason": ended.reason, "why": ended.why}


def latest_rows(counts: Counts, epoch: float) -> list[Json]:
    """The latest event of each reason, the latest first."""
    latest = sorted(counts.latest.items(), key=lambda each: -each[1].at)
    return [_latest_row(reason, event, counts, epoch) for reason, event in latest if reason not in USUAL]


def _latest_row(reason: str, event: Latest, counts: Counts, epoch: float) -> Json:
    text, count = event.text or reason, counts.events.get(reason, 0)
    kind = "refused" if REFUSED.fullmatch(reason) else WARNING
    if reason in counts.rejected:
        kind, count = "rejected", counts.rejected[reason]
        text = f"rejected a datagram from {event.source}: {reason}"
    return {
        "reason": reason,
        "kind": kind,
        "text": text,
        "count": count,
        "source": event.source,
        "at": epoch + event.at,
    }


def histogram(found: Histogram) -> Json:
    """A histogram: a count for each bound, and one for the values above all bounds."""
    return {"bounds": list(found.bounds), "counts": list(found.counts), "sum": found.sum}
