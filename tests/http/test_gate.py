"""Which requests the page answers at all."""

from __future__ import annotations

from typing import Optional

import pytest

from moh.http.gate import HEADERS, refusal
from tests.http.requests import environ


def status(path: str = "/state.json", method: str = "GET", **fields: str) -> Optional[int]:
    """Return the status of the refusal; ``None`` where the request may pass."""
    answer = refusal(environ(path, method, **fields))
    return answer.status if answer else None


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "127.0.0.1", "192.0.2.1:80", "[::1]:8080", "[2001:db8::1]", "localhost:8080", "LocalHost"],
)
def test_a_host_that_is_an_address_or_localhost_passes(host: str) -> None:
    assert status(HTTP_HOST=host) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example:8080", "127.0.0.1, evil",
     "127.0.0.1@evil.example", "user@127.0.0.1", "[evil.example]", "::1", "127.0.0.1:8080:8080", "127.0.0.1:x",
     "localhost.", " 127.0.0.1", "127.1", "fe80::1%eth0", "[fe80::1%25eth0]", "\u2460\u2461.0.0.1", "a" * 5000],
)  # fmt: skip
def test_another_host_is_misdirected(host: str) -> None:
    answer = refusal(environ("/", HTTP_HOST=host))
    assert answer and answer.status == 421
    assert isinstance(answer.body, bytes) and len(answer.body) < 400, "a long name is cut"


def test_a_request_without_host_is_refused() -> None:
    assert status(HTTP_HOST="") == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND", "get"])
def test_the_page_changes_nothing(method: str) -> None:
    answer = refusal(environ("/", method))
    assert answer and answer.status == 405
    assert ("Allow", "GET, HEAD") in answer.headers


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("http://127.0.0.1:8080", None), ("https://127.0.0.1:8080", None), ("HTTP://127.0.0.1:8080", None),
     ("http://127.0.0.1:3000", 403), ("http://127.0.0.1", 403), ("http://evil.example", 403), ("null", 403),
     ("http://127.0.0.1:8080.evil.example", 403)],
)  # fmt: skip
def test_only_the_page_itself_is_an_origin(origin: str, expected: Optional[int]) -> None:
    assert status(HTTP_ORIGIN=origin) == expected


FETCHES = {"HTTP_SEC_FETCH_MODE": "cors", "HTTP_SEC_FETCH_DEST": "empty"}
EMBEDS = {"HTTP_SEC_FETCH_MODE": "no-cors", "HTTP_SEC_FETCH_DEST": "audio"}
OPENS = {"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_DEST": "document"}
FRAMES = {"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_DEST": "iframe"}


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [("/state.json", FETCHES, 403), ("/music/pcmu.wav", EMBEDS, 403), ("/", FETCHES, 403), ("/", FRAMES, 403),
     ("/state.json", OPENS, 403), ("/metrics", OPENS, 403), ("/", OPENS, None)],
)  # fmt: skip
def test_another_site_may_only_link_to_the_page(
    site: str, path: str, fields: dict[str, str], expected: Optional[int]
) -> None:
    assert status(path, HTTP_SEC_FETCH_SITE=site, **fields) == expected


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_page_itself_and_the_owner_may_ask_for_all(site: str) -> None:
    for fields in (FETCHES, EMBEDS, OPENS):
        assert status(HTTP_SEC_FETCH_SITE=site, **fields) is None


def test_a_program_without_these_fields_passes() -> None:
    assert status("/metrics") is None


def test_the_header_fields_let_no_other_site_use_the_page() -> None:
    fields = dict(HEADERS)
    policy = dict(part.strip().split(" ", 1) for part in fields["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert {name for name, value in policy.items() if value == "'self'"} == {
        "script-src", "style-src", "img-src", "media-src", "connect-src",
    }  # fmt: skip
    assert "unsafe" not in fields["Content-Security-Policy"]
    assert fields["Cross-Origin-Resource-Policy"] == "same-origin"
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Referrer-Policy"] == "no-referrer"
