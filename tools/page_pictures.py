#!/usr/bin/env python3
"""Take the pictures of the page in ``docs/pictures``: both languages, wide and narrow, light and dark, with live calls.

    python3 -m tools.page_pictures [FOLDER]

It needs root (for a network of its own, so that the addresses look like those of an office), Chromium, the packages of
``requirements-dev.txt`` and a font for Japanese (``apt-get install chromium fonts-noto-cjk``). It takes a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support.chromium import Page, Visit, chromium
from tests.support.phone import Ear, Phone, offer
from tests.support.rtcp import block, receiver_report
from tests.support.running import ROOT, Running

SERVER = "192.168.1.100"
OFFICE = ("192.168.1.21", "192.168.1.22", "192.168.1.23", "192.168.1.24", "203.0.113.50", "203.0.113.51")
"""The addresses of the phones, and of two held parties outside."""
IN_NAMESPACE = "PAGE_PICTURES_NETWORK"
SIZES = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 390, "height": 844}}
LOCALES = {"en": "en-GB", "ja": "ja-JP"}
OPUS = "a=rtpmap:96 opus/48000/2"


def main() -> None:
    """Enter a network of its own, make calls, take the pictures."""
    if IN_NAMESPACE not in os.environ:
        command = ["unshare", "--net", sys.executable, "-m", "tools.page_pictures", *sys.argv[1:]]
        os.execvpe(command[0], command, {**os.environ, IN_NAMESPACE: "1"})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (SERVER, *OFFICE):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        work = Path(temporary)
        shutil.copy(ROOT / "moh" / "builtin.mp3", work / "office.mp3")
        server = stack.enter_context(
            Running(
                work, work / "cache", MOH_BIND=SERVER, MOH_SIP_PORT="5060", MOH_RTP_PORTS="10000-10100",
                MOH_FFMPEG_CALLS="2", MOH_MUSIC=str(work / "office.mp3"), MOH_HTTP="127.0.0.1:8080",
            )
        )  # fmt: skip
        server.ready()
        server.address = (SERVER, 5060)
        make_calls(server, stack)
        take(folder)


def make_calls(server: Running, stack: ExitStack) -> None:
    """Three calls that end, one that is refused, and three that go on, with reports of their receivers."""
    for user, host, held in (
        ("204", OFFICE[3], OFFICE[4]), ("201", OFFICE[0], OFFICE[1]), ("202", OFFICE[1], OFFICE[4]),
    ):  # fmt: skip
        with dial(server, user, host, offer((held, 4100), formats="0")) as phone:
            time.sleep(1.3)
            phone.bye()
    with Phone(server.address, OFFICE[3]) as phone:
        phone.ask(phone.request("INVITE", body=offer((OFFICE[4], 4100), formats="18")))
    for user, host, held, formats, lost in (
        ("201", OFFICE[0], OFFICE[4], "9", 0), ("203", OFFICE[2], OFFICE[0], "0", 0),
        ("204", OFFICE[3], OFFICE[5], "96", 3),
    ):  # fmt: skip
        ear = stack.enter_context(Ear(held))
        phone = stack.enter_context(dial(server, user, host, offer(ear.address, "a=recvonly", OPUS, formats=formats)))
        last = ear.packets(150)[-1]
        rate = 48 if formats == "96" else 8
        report = receiver_report(block(last.ssrc, 0, lost, last.sequence, rate * (2 + lost)))
        ear.send_rtcp(report, (SERVER, last.source[1] + 1 if last.source[1] < 10100 else last.source[1]))


def dial(server: Running, user: str, host: str, body: str) -> Phone:
    """A phone of ``user`` that has called."""
    phone = Phone(server.address, host)
    phone.dial(phone.request("INVITE", body=body).replace(b"sip:201@", f"sip:{user}@".encode()))
    return phone


def take(folder: Path) -> None:
    """Take all pictures."""
    with chromium() as browser:
        for language, locale in LOCALES.items():
            for size, viewport in SIZES.items():
                for colour in ("light", "dark"):
                    visit = Visit(browser, locale=locale, viewport=viewport, color_scheme=colour)
                    page = visit.open("http://127.0.0.1:8080/")
                    page.wait_for_selector("#waveform path.rms[d^=M]", state="attached")
                    shoot(page, folder / f"page-{language}-{size}-{colour}.png")
                    visit.close()


def shoot(page: Page, path: Path) -> None:
    """The whole page as a PNG with a palette of few colours, which is a third of the size."""
    whole = page.screenshot(full_page=True)
    palette = "split[one][two];[one]palettegen=max_colors=48[colours];[two][colours]paletteuse=dither=none"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "png_pipe", "-i", "-", "-vf", palette, "-compression_level", "100"]
    subprocess.run([*command, "-pred", "mixed", "-update", "1", "-frames:v", "1", str(path)], input=whole, check=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
