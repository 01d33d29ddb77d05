"""The tables of ``bench.playing.page``, and what its viewers read."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import fields

import pytest

from bench.playing.page import CLOSED, OFF, OPEN, Sight, arguments, tables
from bench.playing.viewers import Viewer, files_of


def sight(spacing_p99: float) -> Sight:
    return Sight(**{**{each.name: 1.0 for each in fields(Sight)}, "spacing_p99": spacing_p99})


def test_the_ratios_are_of_figures_of_the_same_round() -> None:
    before = [sight(20.0), sight(30.0)]
    text = tables({OFF: before, CLOSED: before, OPEN: [sight(21.0), sight(30.0)]})
    line = next(line for line in text.splitlines() if f"{OPEN} / {OFF}" in line)
    assert "x 1.02 (1.00-1.05)" in line


def test_twenty_pages_are_open_if_no_option_says_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments([])
    assert (given.callers, given.pages, given.every, given.scrape) == (1000, 20, 2.0, 1.0)
    with pytest.raises(SystemExit):
        arguments(["--scrape", "0"])
    assert "times above 0" in capsys.readouterr().err


def test_each_static_file_of_a_page_is_read_once() -> None:
    page = """<link href="/static/page.css"><script src='static/page.js'></script><img src=/static/page.css>
        <a href="/music/pcmu.wav">"""
    assert files_of(page) == ["/static/page.css", "/static/page.js"]


class Page(http.server.BaseHTTPRequestHandler):
    """Answers ``/`` with a page that names two files, one of which does not exist."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        bodies = {
            "/": b"<script src='/static/page.js'></script><link href='/static/gone.css'>",
            "/static/page.js": b"import { words } from './words.js'", "/static/words.js": b"from './page.js'",
        }  # fmt: skip
        body = bodies.get(self.path, b"")
        self.send_response(200 if self.path in bodies else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_viewer_opens_the_page_and_counts_what_failed(port: int) -> None:
    viewer = Viewer("127.0.0.1", port)
    viewer.open_page()
    assert (viewer.requests, viewer.failed) == (4, 1)
    assert 0 < viewer.slowest < 5
    viewer.close()


def test_a_viewer_counts_a_server_that_is_gone() -> None:
    viewer = Viewer("127.0.0.1", 1)
    assert viewer.get("/") == b""
    assert (viewer.requests, viewer.failed) == (1, 1)
