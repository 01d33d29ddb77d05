#!/usr/bin/env python3
"""Take the pictures of the page in ``docs/pictures``: both languages, wide and narrow, light and dark, with live calls.

All is well in the light ones. Before the dark ones a call is refused.

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
from tests.support.phone import Ear, Packet, Phone, offer
from tests.support.rtcp import block, receiver_report
from tests.support.running import ROOT, Running

SERVER = "192.168.1.100"
OFFICE = ("192.168.1.21", "192.168.1.22", "192.168.1.23", "192.168.1.24", "203.0.113.50", "203.0.113.51")
"""The addresses of the phones, and of two held parties outside."""
SHARED = 10100
"""The port of the shared stream, by which it gets RTCP as well."""
IN_NAMESPACE = "PAGE_PICTURES_NETWORK"
SIZES = {"wide": (1280, 1600), "narrow": (390, 2600)}
"""Width and height of the pictures; the page may be longer."""
LOCALES = {"en": "en-GB", "ja": "ja-JP"}
OPUS = "a=rtpmap:96 opus/48000/2"


def main() -> None:
    """Enter a network of its own, make calls, take the pictures."""
    if IN_NAMESPACE not in os.environ:
        command = ["unshare", "--net", sys.executable, "-m", "tools.page_pictures", *sys.argv[1:]]
        os.execvpe(command[0], command, {**os.environ, IN_NAMESPACE: "1"})
    for words in (
        "link set lo up", "link add eth0 type veth peer name cable", "link set cable up", "link set eth0 up",
    ):  # fmt: skip
        subprocess.run(["ip", *words.split()], check=True)
    for address in (SERVER, *OFFICE):
        subprocess.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"], check=True)
    subprocess.run(["ip", "route", "add", "default", "dev", "eth0"], check=True)
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
        take(folder, "light")
        with Phone(server.address, OFFICE[3]) as phone:
            phone.ask(phone.request("INVITE", body=offer((OFFICE[4], 4100), formats="18")))
        time.sleep(3)
        take(folder, "dark")


def make_calls(server: Running, stack: ExitStack) -> None:
    """Three calls that end, and three that go on, with reports of their receivers."""
    for user, host, held in (
        ("204", OFFICE[3], OFFICE[4]), ("205", OFFICE[0], OFFICE[1]), ("202", OFFICE[1], OFFICE[4]),
    ):  # fmt: skip
        with Ear(held) as ear, dial(server, user, host, offer(ear.address, formats="0")) as phone:
            report(ear, ear.packets(100)[-1], lost=0)
            ear.packets(25)  # half a second, in which the server reads it
            phone.bye()
    for user, host, held, formats, lost in (
        ("205", OFFICE[0], OFFICE[4], "9", 0), ("203", OFFICE[2], OFFICE[0], "0", 0),
        ("204", OFFICE[3], OFFICE[5], "96", 3),
    ):  # fmt: skip
        ear = stack.enter_context(Ear(held))
        phone = stack.enter_context(dial(server, user, host, offer(ear.address, "a=recvonly", OPUS, formats=formats)))
        report(ear, ear.packets(150)[-1], lost)


def report(ear: Ear, last: Packet, lost: int) -> None:
    """Report to the server that ``last`` was the latest packet."""
    rate = 48 if last.payload_type == 96 else 8
    about = receiver_report(block(last.ssrc, 0, lost, last.sequence, rate * (2 + lost)))
    host, port = last.source
    ear.send_rtcp(about, (host, port if port == SHARED else port + 1))


def dial(server: Running, user: str, host: str, body: str) -> Phone:
    """A phone of ``user`` that has called."""
    phone = Phone(server.address, host)
    phone.dial(phone.request("INVITE", body=body).replace(b"sip:201@", f"sip:{user}@".encode()))
    return phone


def take(folder: Path, colour: str) -> None:
    """Take the pictures of this colour."""
    with chromium() as browser:
        for language, locale in LOCALES.items():
            for size, (width, height) in SIZES.items():
                viewport = {"width": width, "height": height}
                visit = Visit(browser, locale=locale, viewport=viewport, color_scheme=colour)
                page = visit.open("http://127.0.0.1:8080/")
                page.wait_for_selector("#waveform path.rms[d^=M]", state="attached")
                shoot(page, folder / f"page-{language}-{size}-{colour}.png")
                visit.close()


def shoot(page: Page, path: Path) -> None:
    """Take a PNG with a palette of few colours, which is a third of the size."""
    palette = "split[one][two];[one]palettegen=max_colors=24[colours];[two][colours]paletteuse=dither=none"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "png_pipe", "-i", "-", "-vf", palette, "-compression_level", "100"]
    subprocess.run([*command, "-pred", "none", "-update", "1", str(path)], input=page.screenshot(), check=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
