#!/usr/bin/env python3
"""Take the pictures of the page in ``docs/pictures``: both languages, wide and narrow, light and dark, with live calls.

All is well in the light ones. Before the dark ones a call is refused. Two more show the names of a music folder.

    python3 -m tools.page_pictures [FOLDER]

It needs root (for a network and a folder of its own, so that both look like those of an office), Chromium, the packages
of ``requirements-dev.txt`` and a font for Japanese (``apt-get install chromium fonts-noto-cjk``). It takes two minutes.
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

from moh.net.state_client import read_state
from tests.radio.stations import Behave, Station, plays
from tests.support.chromium import Page, Visit, chromium
from tests.support.phone import Ear, Packet, Phone, offer
from tests.support.rtcp import block, receiver_report
from tests.support.running import ROOT, Running, wait_for
from tests.support.tones import write_tone

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
BUILTIN_SECONDS = 48.0
"""The length of the built-in piece."""


def main() -> None:
    """Enter a network of its own, make calls, take the pictures."""
    if IN_NAMESPACE not in os.environ:
        command = ["unshare", "--net", "--mount", sys.executable, "-m", "tools.page_pictures", *sys.argv[1:]]
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
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/srv"], check=True)  # in this process's own view of the disks
    with ExitStack() as stack:
        take_names(folder, Path("/srv/moh"), stack)


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


def take_names(folder: Path, work: Path, stack: ExitStack) -> None:
    """Take the pictures of a server with a music folder: pieces, a folder with an announcement, a radio, a fault."""
    music = work / "music"
    (music / "shop").mkdir(parents=True)
    for name in ("default", "jazz", "受付", "shop/1 morning", "shop/2 noon"):
        shutil.copy(ROOT / "moh" / "builtin.mp3", music / f"{name}.mp3")
    write_tone(music / "shop" / "announce.wav", 440.0, 3.0)
    (music / "report.mp3").write_text("no music")
    station = stack.enter_context(Station(titled("Morning Concert")))
    (music / "radio.url").write_text(station.url())
    server = stack.enter_context(
        Running(
            work, work / "cache", MOH_BIND=SERVER, MOH_SIP_PORT="5060", MOH_RTP_PORTS="10000-10100",
            MOH_MUSIC=str(music), MOH_HTTP="127.0.0.1:8080", MOH_ALLOW_RADIO="127.0.0.0/8",
        )
    )  # fmt: skip
    server.ready()
    server.address = (SERVER, 5060)
    expected = {"ready": 4, "plays": 1, "refused": 1}
    wait_for(lambda: read_state(SERVER, 5060)["names"]["by_state"] == expected, "all names", 60)
    for dialled, host in (("jazz", OFFICE[0]), ("jazz", OFFICE[1]), ("radio", OFFICE[2]), ("jaz", OFFICE[3])):
        ear = stack.enter_context(Ear(OFFICE[4]))
        phone = stack.enter_context(Phone(server.address, host))
        phone.uri = f"sip:{dialled}@{SERVER}:5060"
        phone.dial(phone.request("INVITE", body=offer(ear.address, formats="0")))
    time.sleep(2)
    with chromium() as browser:
        for language, locale in LOCALES.items():
            visit = Visit(browser, locale=locale, viewport={"width": 1280, "height": 900}, color_scheme="light")
            page = visit.open("http://127.0.0.1:8080/")
            page.wait_for_selector("#names tbody tr")
            shoot(page.locator("#names-card"), folder / f"page-{language}-names.png")
            visit.close()


def titled(title: str) -> Behave:
    """A station that sends the built-in piece with a title, as Icecast does."""
    octets, apart = (ROOT / "moh" / "builtin.mp3").read_bytes(), 16_000
    said = f"StreamTitle='{title}';".encode()
    said = bytes([-(-len(said) // 16)]) + said.ljust(-(-len(said) // 16) * 16, b"\0")
    parts = [octets[at : at + apart] + said for at in range(0, len(octets) - apart, apart)]
    head = b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nicy-metaint: 16000\r\n\r\n"
    return plays(b"".join(parts), BUILTIN_SECONDS * len(parts) * apart / len(octets), head=head)


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
    """Take a PNG of a page, or of an element of it, with a palette of few colours."""
    palette = "split[one][two];[one]palettegen=max_colors=24[colours];[two][colours]paletteuse=dither=none"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "png_pipe", "-i", "-", "-vf", palette, "-compression_level", "100"]
    subprocess.run([*command, "-pred", "none", "-update", "1", str(path)], input=page.screenshot(), check=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
