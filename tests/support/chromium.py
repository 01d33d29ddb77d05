"""A headless Chromium, driven by playwright: for the tests of the page, and for its pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
Browser = Any
Page = Any


def why_no_browser() -> str:
    """Why there is no browser here; empty if there is one."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "needs the package playwright, which the oldest Pythons do not get"
    return "" if CHROMIUM else "needs chromium: apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium of this system, without a window. Its sandbox needs a user other than root."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


class Visit:
    """Pages that are opened with the settings of one reader. ``complaints`` are what the browser had to complain of."""

    def __init__(self, browser: Browser, **reader: Any) -> None:
        self._context = browser.new_context(**{"locale": "en-GB", "timezone_id": "Asia/Tokyo", **reader})
        self.complaints: list[str] = []

    def open(self, url: str, state: Optional[dict[str, Any]] = None) -> Page:
        """Open ``url``. With a ``state`` the browser gets that one in place of the server's."""
        page = self._context.new_page()
        page.on("console", lambda said: None if is_usual(said) else self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        site = url.partition("#")[0]
        page.on("request", lambda asked: None if asked.url.startswith(site) else self.complaints.append(asked.url))
        if state is not None:
            page.route("**/state.json", lambda route: route.fulfill(json=state))
        page.goto(url)
        return page

    def close(self) -> None:
        self._context.close()


def is_usual(said: Any) -> bool:
    """Whether a line of the browser's console is no complaint: it tells that music is still being made."""
    return said.type == "log" or ("/music/" in said.location.get("url", "") and "503" in said.text)
