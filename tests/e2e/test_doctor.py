"""End to end: set-ups that are broken on purpose. The doctor names what is wrong with each in one sentence.

The same check of a good set-up has none of these findings: see ``test_a_good_set_up_has_none_of_these_findings``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conftest import StartServer
from tests.support.namespaces import addresses_stay, linked, run
from tests.support.phone import Phone, offer
from tests.support.running import ROOT, Running, free_ports, wait_for

INSIDE, MACHINE = "10.213.81.2", "10.213.81.1"
"""The addresses of a container, and of the machine that runs it."""


class Scene(NamedTuple):
    """What a broken set-up is made of: a folder, one good file of music in it, and servers."""

    folder: Path
    music: Path
    start_server: StartServer

    def server(self, **settings: str) -> Running:
        return self.start_server(MOH_MUSIC=str(self.music), MOH_FFMPEG_CALLS="5", **settings).ready()


class SetUp(NamedTuple):
    """How the check is run: the settings, other variables, and a command that comes before that of the check."""

    settings: dict[str, str]
    before: Sequence[str] = ()


def settings_of(server: Running) -> dict[str, str]:
    """The settings with which a server of the tests was started."""
    environment = Path(f"/proc/{server.process.pid}/environ").read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in environment if line.startswith("MOH_"))


def check(set_up: SetUp, *options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the check. Settings that are not given have values for a server on free ports of the loopback."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MOH_", "LANG", "LC_"))}
    first = free_ports(8)
    usual = {"MOH_BIND": "127.0.0.1", "MOH_SIP_PORT": str(first), "MOH_RTP_PORTS": f"{first + 2}-{first + 7}"}
    environment.update({**usual, "MOH_CACHE": str(folder / "cache"), **set_up.settings})
    command = [*set_up.before, sys.executable, str(ROOT / "sip_server.py"), "--check", *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=60
    )


def tone(path: Path, level: int = 8000, seconds: float = 1.5) -> Path:
    """Write a tone of about 440 Hz; with ``level`` 0 silence."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(
            b"".join(struct.pack("<h", level if n % 18 < 9 else -level) for n in range(int(8000 * seconds)))
        )
    return path


# -- the broken set-ups ------------------------------------------------------------------------------------------------


@contextmanager
def wrong_advertised_address(scene: Scene) -> Iterator[SetUp]:
    yield SetUp({"MOH_BIND": "0.0.0.0", "MOH_ADVERTISED_ADDRESS": "192.168.213.214"})


@contextmanager
def loopback_as_advertised_address(scene: Scene) -> Iterator[SetUp]:
    yield SetUp({"MOH_BIND": "0.0.0.0", "MOH_ADVERTISED_ADDRESS": "127.0.0.1"})


@contextmanager
def taken_port(scene: Scene) -> Iterator[SetUp]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        yield SetUp({"MOH_SIP_PORT": str(other.getsockname()[1])})


@contextmanager
def unreadable_music(scene: Scene) -> Iterator[SetUp]:
    scene.music.chmod(0)
    # root may read every file, unless it gives up the capability for that
    rights = "-dac_override,-dac_read_search"
    yield SetUp({}, ["setpriv", "--bounding-set", rights, "--"] if os.geteuid() == 0 else ())


@contextmanager
def silent_music(scene: Scene) -> Iterator[SetUp]:
    tone(scene.music, level=0)
    yield SetUp({})


@contextmanager
def truncated_music(scene: Scene) -> Iterator[SetUp]:
    whole = tone(scene.music, seconds=4.0).read_bytes()
    scene.music.write_bytes(whole[: len(whole) // 2])
    yield SetUp({})


@contextmanager
def no_ffmpeg(scene: Scene) -> Iterator[SetUp]:
    empty = scene.folder / "empty"
    empty.mkdir()
    yield SetUp({"PATH": str(empty)})


@contextmanager
def ffmpeg_without_opus(scene: Scene) -> Iterator[SetUp]:
    binary = scene.folder / "bin" / "ffmpeg"
    binary.parent.mkdir()
    real = shutil.which("ffmpeg")
    binary.write_text(
        f'#!/bin/sh\ncase "$*" in *-encoders) {real} "$@" | grep -v libopus ;; *) exec {real} "$@" ;; esac\n'
    )
    binary.chmod(0o755)
    yield SetUp({"PATH": f"{binary.parent}{os.pathsep}{os.environ['PATH']}"})


@contextmanager
def bridge_without_published_rtp(scene: Scene) -> Iterator[SetUp]:
    """The other end of the veth is the container's machine; no program of the machine has a port of the range."""
    with linked("doctor", INSIDE, MACHINE) as (name, _):
        run("ip", "-n", name, "route", "add", "default", "via", MACHINE)
        mark = ["ip", "netns", "exec", name, "env", "KUBERNETES_SERVICE_HOST=10.96.0.1"]
        yield SetUp({"MOH_BIND": "0.0.0.0"}, mark)


@contextmanager
def allow_that_shuts_the_phone_out(scene: Scene) -> Iterator[SetUp]:
    server = scene.server(MOH_ALLOW="192.0.2.0/24")
    with Phone(server.address) as phone:
        phone.send(phone.invite(("127.0.0.1", 4000)))
        server.says("rejected a datagram from 127.0.0.1: not in MOH_ALLOW")
        yield SetUp(settings_of(server))


@contextmanager
def phone_with_g729_only(scene: Scene) -> Iterator[SetUp]:
    server = scene.server()
    with Phone(server.address) as phone:
        assert phone.ask(phone.request("INVITE", body=offer(("127.0.0.1", 4000), formats="18"))).status == 488
        yield SetUp(settings_of(server))


@contextmanager
def held_party_that_nothing_reaches(scene: Scene) -> Iterator[SetUp]:
    """No program has the port of the held party, and its host says so."""
    server = scene.server()
    with Phone(server.address) as phone:
        phone.call(("127.0.0.2", free_ports(2)))
        server.says("port unreachable at 127.0.0.2:")
        yield SetUp(settings_of(server))


@contextmanager
def process_limit(scene: Scene) -> Iterator[SetUp]:
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("prlimit"):
        pytest.skip("needs root, setpriv and prlimit, to be a user without other processes")
    user, rights = str(50_000 + os.getpid() % 10_000), "+dac_override"
    as_user = ["setpriv", "--reuid", user, "--clear-groups", "--inh-caps", rights, "--ambient-caps", rights, "--"]
    yield SetUp({}, [*as_user, "prlimit", "--nproc=5:5", "--"])


@contextmanager
def full_disk(scene: Scene) -> Iterator[SetUp]:
    disk = scene.folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k,mode=700", "tmpfs", str(disk)]).returncode:
        pytest.skip("needs root, to mount a small disk")
    try:
        yield SetUp({"MOH_CACHE": str(disk / "moh")})
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@contextmanager
def engines_that_send_nothing(scene: Scene) -> Iterator[SetUp]:
    """The ffmpeg that plays is gone since the start; all that was needed of it before is in the cache."""
    bad, binary = scene.folder / "bad", scene.folder / "bin" / "ffmpeg"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\n[ ! -e {bad} ] || exit 7\nexec {shutil.which("ffmpeg")} "$@"\n')
    binary.chmod(0o755)
    path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
    server = scene.server(PATH=path)
    bad.touch()
    yield SetUp(settings_of(server))


class Broken(NamedTuple):
    """A broken set-up, and what the check has to say of it."""

    make: Callable[[Scene], AbstractContextManager[SetUp]]
    finding: str
    sentence: str
    """A regular expression for the whole sentence in English."""
    status: int = 1


BROKEN = [
    Broken(
        wrong_advertised_address, "address-elsewhere",
        r"Callers are told 192\.168\.213\.214, which is no address of this machine; it has .+\.", status=0,
    ),
    Broken(
        loopback_as_advertised_address, "address-loopback",
        r"Callers are told the address 127\.0\.0\.1, which for each phone means the phone itself\.",
    ),
    Broken(taken_port, "port-taken", rf"Another program has the port \d+ \(UDP\): \S.* \({os.getpid()}\)\."),
    Broken(unreadable_music, "music-unreadable", r"The server \(user \d+\) may not read the music /\S+/music\.wav\."),
    Broken(silent_music, "music-silent", r"The music /\S+/music\.wav is almost silent on a telephone\."),
    Broken(truncated_music, "music-truncated", r"The end of the music /\S+/music\.wav is missing: 50 %\.", status=0),
    Broken(no_ffmpeg, "ffmpeg-missing", r"The program ffmpeg is missing\."),
    Broken(ffmpeg_without_opus, "ffmpeg-lacks", r"This ffmpeg has no encoder for opus\.", status=0),
    Broken(
        bridge_without_published_rtp, "rtp-not-published",
        r"The RTP ports \d+-\d+ are not published: this container's machine refuses port \d+ \(UDP\)\.", status=0,
    ),
    Broken(
        allow_that_shuts_the_phone_out, "allow-shuts-out",
        r"MOH_ALLOW shuts out 127\.0\.0\.1, which tries to call \(datagrams rejected: \d+\)\.",
    ),
    Broken(
        phone_with_g729_only, "refused-codec",
        r"The phone 127\.0\.0\.1 offers no codec that this server plays\.",
    ),
    Broken(
        held_party_that_nothing_reaches, "receiver-unreachable",
        r"The music of 201@127\.0\.0\.1 did not reach the held party \(\d+ s ago\): port unreachable at 127.*\.",
    ),
    Broken(
        process_limit, "limit-processes",
        r"Only [0-4] more processes may start \(RLIMIT_NPROC is 5\); 3 calls with an ffmpeg need about \d+\.",
    ),
    Broken(
        full_disk, "disk-full",
        r"The disk of the folder /\S+/disk/moh has no room for the converted music: 0\.2 MB are free\.",
    ),
    Broken(
        engines_that_send_nothing, "test-call-silent",
        r"A test call to 127\.0\.0\.1:\d+ was answered, but heard no music: .+\.",
    ),
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def addresses() -> Iterator[None]:
    """The addresses of this machine, which the check judges."""
    with addresses_stay():
        yield


@pytest.fixture
def scene(tmp_path: Path, start_server: StartServer) -> Scene:
    return Scene(tmp_path, tone(tmp_path / "music.wav"), start_server)


def findings(scene: Scene, set_up: SetUp) -> tuple[int, dict[str, Any]]:
    """Run the check. Return its exit status, and its findings by their ids."""
    settings = {"MOH_MUSIC": str(scene.music), **set_up.settings}
    ran = check(set_up._replace(settings=settings), "--json", folder=scene.folder)
    assert ran.stderr == "", ran.stderr
    return ran.returncode, {each["id"]: each for each in json.loads(ran.stdout)["findings"]}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.make.__name__)
def test_the_check_names_what_is_wrong(scene: Scene, broken: Broken) -> None:
    with broken.make(scene) as set_up:
        status, found = findings(scene, set_up)
    assert broken.finding in found, f"the check says nothing of it: {sorted(found)}"
    each = found[broken.finding]
    assert re.fullmatch(broken.sentence, each["en"]["what"]), each["en"]["what"]
    assert status == broken.status, found
    assert all(each[language][part] for language in ("en", "ja") for part in ("what", "why", "do"))


def test_a_good_set_up_has_none_of_these_findings(scene: Scene) -> None:
    server = scene.server()
    status, found = findings(scene, SetUp(settings_of(server)))
    bad = {each["id"]: each["en"]["what"] for each in found.values() if each["level"] in ("error", "warning")}
    bad.pop("test-call-uneven", "")  # of a busy test machine
    assert (status, bad) == (0, {})
    assert {"server-runs", "music-plays", "ffmpeg", "calls-none"} <= found.keys()
    assert not {broken.finding for broken in BROKEN} & found.keys()


@pytest.mark.parametrize(
    ("language", "says"), [("C", "The program ffmpeg is missing."), ("ja_JP.UTF-8", "ffmpeg がありません。")]
)
def test_the_report_for_people_is_in_their_language(scene: Scene, language: str, says: str) -> None:
    with no_ffmpeg(scene) as set_up:
        settings = {"MOH_MUSIC": str(scene.music), "LANG": language, **set_up.settings}
        ran = check(SetUp(settings), folder=scene.folder)
    assert ran.returncode == 1
    assert says in ran.stdout and ran.stdout.splitlines()[0].startswith(("ERROR", "エラー"))


def test_the_check_at_the_start_logs_what_no_other_line_says(scene: Scene) -> None:
    server = scene.start_server(MOH_MUSIC=str(scene.music), MOH_BIND="0.0.0.0", MOH_ADVERTISED_ADDRESS="127.0.0.1")
    server.says("Callers are told the address 127.0.0.1, which for each phone means the phone itself. Set ")
    assert wait_for(lambda: server.log.count("MOH_ADVERTISED_ADDRESS to an address"), "the line") == 1
