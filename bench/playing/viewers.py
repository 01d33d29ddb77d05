"""Browsers that have the server's page open, and a Prometheus, in a process of its own.

``viewers.py HOST PORT PAGES EVERY SCRAPE`` opens the page PAGES times: ``/``, and all static files that it needs. Each
viewer keeps its connection and reads ``/state.json`` every EVERY seconds; one more client reads ``/metrics`` every
SCRAPE seconds. The program prints "ready" when all pages are open. It ends when its standard input is closed, and
prints "requests N failed M slowest S", with S in ms.
"""

from __future__ import annotations

import http.client
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

TIMEOUT = 5.0
"""Seconds that an answer may take."""
FIELDS = {"Accept-Encoding": "gzip", "User-Agent": "bench"}


class Viewer:
    """One connection that is kept. Only one thread uses it."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        self.requests = self.failed = 0
        self.slowest = 0.0

    def get(self, path: str) -> bytes:
        """Return the body of an answer with 200; empty for any other. A closed connection is opened again."""
        began = time.monotonic()
        self.requests += 1
        try:
            self._connection.request("GET", path, headers=FIELDS)
            answer = self._connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                self.slowest = max(self.slowest, time.monotonic() - began)
                return body
        except (OSError, http.client.HTTPException):
            self._connection.close()
        self.failed += 1
        return b""

    def open_page(self) -> None:
        """Read the page and all static files that it needs, as a browser does."""
        needed = files_of(self.get("/").decode("utf-8", "replace"))
        for path in needed:  # it grows: a script names others
            text = self.get(path).decode("utf-8", "replace")
            needed += [name for name in files_of(text) if name not in needed]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def repeat(self, path: str, every: float, first: float, over: threading.Event) -> None:
        """Read ``path`` every ``every`` seconds, after ``first`` seconds, until ``over`` is set."""
        due = time.monotonic() + first
        while not over.wait(max(0.0, due - time.monotonic())):
            self.get(path)
            due = max(due + every, time.monotonic())


def files_of(text: str) -> list[str]:
    """Return the paths of the static files that a page or a script names, each once."""
    found = re.findall(r"""(?:(?:src|href)=["']?/?static/|\bfrom\s+["']\./)([\w.-]+)""", text)
    return [f"/static/{name}" for name in dict.fromkeys(found)]


def together(works: list[Callable[[], None]]) -> list[threading.Thread]:
    """Start a thread for each of ``works``."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def main() -> int:
    """Read until the standard input is closed."""
    host, port, pages, every, scrape = sys.argv[1:]
    viewers = [Viewer(host, int(port)) for _ in range(int(pages))]
    for thread in together([viewer.open_page for viewer in viewers]):
        thread.join()
    print("ready", flush=True)
    over, pause = threading.Event(), float(every)
    works: list[Callable[[], None]] = [
        partial(viewer.repeat, "/state.json", pause, pause * number / len(viewers), over)
        for number, viewer in enumerate(viewers)
    ]
    scraper = Viewer(host, int(port))
    threads = together([*works, partial(scraper.repeat, "/metrics", float(scrape), 0.0, over)])
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join(TIMEOUT)
    every_one = [*viewers, scraper]
    requests, failed = sum(each.requests for each in every_one), sum(each.failed for each in every_one)
    slowest = max(each.slowest for each in every_one)
    print(f"requests {requests} failed {failed} slowest {1000 * slowest:.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
