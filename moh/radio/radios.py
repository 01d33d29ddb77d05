"""All radios of the process, and the thread that fills their rings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional, Union

from ..common.config import Settings
from ..common.faults import FaultLog
from .fallback import NoFallback
from .http_client import HttpClient
from .messages import Play, Stop
from .ring import NoRing, clean
from .station import Station

MOST_RADIOS = 8
"""Radios that play at once."""
TURN = 0.2
"""Seconds between two turns of the thread that fills the rings; they are written 8 s ahead at least."""
RETRY_EVERY = 10.0
"""Seconds between two attempts to carry out an order that could not be carried out."""
CLEAN_AFTER = 30.0
"""Seconds after the start until rings that no process uses are removed. By then the server has ordered which of them go
on."""


class Radios:
    """Plays the radios that the server orders. ``run`` is called by one thread, ``follow`` by any."""

    def __init__(self, settings: Settings, cache: Path, report: Callable[[Mapping[str, Any]], None]) -> None:
        self._client = HttpClient(settings.allow_radio)
        self._loudness, self._cache, self._report = settings.loudness, cache, report
        self._stations: dict[str, Station] = {}
        self._pending: dict[str, Play] = {}
        """Orders that could not be carried out, because of the disk or of the fallback: they are tried again."""
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._faults = FaultLog("the thread of the rings")
        self._clean_at: Optional[float] = time.monotonic() + CLEAN_AFTER

    def follow(self, order: Union[Play, Stop]) -> None:
        """Carry out an order of the server."""
        with self._lock:
            self._pending.pop(order.name, None)
            station = self._stations.get(order.name)
            try:
                if isinstance(order, Stop):
                    if station is not None:
                        del self._stations[order.name]
                        station.close()
                elif station is not None:
                    station.change(order)
                elif len(self._stations) >= MOST_RADIOS:
                    self._refuse(order.name, f"{MOST_RADIOS} radios play already, and no more are possible")
                else:
                    self._stations[order.name] = Station(
                        order, self._cache, self._client, self._loudness, self._report, time.monotonic()
                    )
            except (NoRing, NoFallback) as error:
                self._refuse(order.name, str(error))
                if isinstance(order, Play) and len(self._pending) < MOST_RADIOS:
                    self._pending[order.name] = order

    def run(self) -> None:
        """Fill the rings for ever."""
        while True:
            began = time.monotonic()
            with self._lock:
                for station in self._stations.values():
                    try:
                        station.service(began)
                    except Exception as error:
                        self._faults.report(error, began, f"the radio {station.name!r}")
            if began >= self._retry_at:
                self._retry_at = began + RETRY_EVERY
                for order in list(self._pending.values()):
                    self.follow(order)
            if self._clean_at is not None and began >= self._clean_at:
                self._clean_at = None
                clean(self._cache)
            time.sleep(max(0.0, began + TURN - time.monotonic()))

    def close(self) -> None:
        """Stop all radios."""
        with self._lock:
            for station in self._stations.values():
                station.close()
            self._stations.clear()

    def _refuse(self, name: str, why: str) -> None:
        self._report({"what": "radio", "name": name, "state": "away", "why": why, "address": "", "title": ""})
