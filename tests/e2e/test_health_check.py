"""End to end: the health check of the Dockerfile, with a server for each row of the settings table."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import test_udp
from conftest import StartServer
from moh.common.config import Settings
from moh.net.routes import local_address_towards
from moh.net.state_client import read_state
from moh.server.now_playing import UNDECIDED
from moh.sip.health import LISTENING
from test_udp import server_here
from tests.support.running import ROOT, Running, free_ports, is_free, wait_for

OWN = "an address of this machine"
CERTIFICATE = "a certificate"
STRICT = {"MOH_ALLOW": "203.0.113.7"}
"""A value of MOH_ALLOW that allows no address of this machine."""
ROWS: dict[str, list[dict[str, str]]] = {
    "MOH_BIND": [
        {"MOH_BIND": bind, **STRICT}
        for bind in ("0.0.0.0", "127.0.0.1", " 127.0.0.2 ", OWN, "::", "[::]", "::1", "[::1]", "::ffff:127.0.0.1")
    ],
    "MOH_SIP_PORT": [{"MOH_BIND": "0.0.0.0"}],
    "MOH_RTP_PORTS": [{"MOH_RTP_PORTS": "20000-20003"}],
    "MOH_FFMPEG_CALLS": [{"MOH_FFMPEG_CALLS": "0"}],
    "MOH_ADVERTISED_ADDRESS": [{"MOH_ADVERTISED_ADDRESS": "203.0.113.1"}],
    "MOH_DIRECTION": [{"MOH_DIRECTION": "sendrecv"}],
    "MOH_ALLOW": [{"MOH_ALLOW": allow} for allow in ("203.0.113.7", "10.99.0.0/16,2001:db8::/32", "0.0.0.0/0")],
    "MOH_CALL_RATE": [{"MOH_ALLOW": "127.0.0.1", "MOH_CALL_RATE": "2000"}],
    "MOH_ALLOW_MEDIA": [{"MOH_ALLOW_MEDIA": "203.0.113.7"}],
    "MOH_MUSIC": [{"MOH_MUSIC": str(ROOT / "moh" / "builtin.mp3")}],
    "MOH_SHUFFLE": [{"MOH_SHUFFLE": "on"}],
    "MOH_ANNOUNCE": [{"MOH_ANNOUNCE": "60s"}],
    "MOH_ALLOW_RADIO": [{"MOH_ALLOW_RADIO": "192.168.0.0/16"}],
    "MOH_CACHE": [{}],
    "MOH_CACHE_LIMIT": [{"MOH_CACHE_LIMIT": "50M"}],
    "MOH_LOUDNESS": [{"MOH_LOUDNESS": "off"}],
    "MOH_MAX_CALL": [{"MOH_MAX_CALL": "1s"}],
    "MOH_DRAIN": [{"MOH_DRAIN": "1h"}],
    "MOH_BUSY_AT": [{"MOH_BUSY_AT": "1"}],
    "MOH_TLS_CERT": [{"MOH_TLS_CERT": CERTIFICATE}],
    "MOH_TLS_KEY": [{"MOH_TLS_CERT": CERTIFICATE, "MOH_TLS_KEY": CERTIFICATE}],
    "MOH_TLS_PORT": [{"MOH_TLS_CERT": CERTIFICATE, **STRICT}],
    "MOH_LOG": [{"MOH_LOG": "error"}],
    "MOH_LOG_FORMAT": [{"MOH_LOG_FORMAT": "json"}],
    "MOH_TRACE": [{}],
    "MOH_HTTP": [{}],
}
"""For each setting: environments in which the test runs a server and the health check."""


def check_line() -> list[str]:
    """Return the command of the HEALTHCHECK in the Dockerfile."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", dockerfile, re.MULTILINE)
    assert found, "the Dockerfile has no health check in exec form"
    command: list[str] = json.loads(found[1])
    return command


def check(*more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the health check in the folder of the programs, with ``more`` arguments.

    It has no ``MOH_`` variables but ``environment``.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [*check_line(), *more], cwd=ROOT, env={**others, **environment, "PATH": path},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def filled(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """Return ``environment`` with real values for ``OWN`` and ``CERTIFICATE``."""
    if OWN in environment.values() and not (own := local_address_towards("192.0.2.1")):
        pytest.skip("this machine has no network")
    if CERTIFICATE in environment.values():
        trustme = pytest.importorskip("trustme", reason="needs trustme: pip install -r requirements-dev.txt")
        certificate = folder / "certificate.pem"
        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        environment = {**environment, "MOH_TLS_PORT": str(free_ports(1))}
    places = {OWN: own if OWN in environment.values() else "", CERTIFICATE: str(folder / "certificate.pem")}
    return {name: places.get(value, value) for name, value in environment.items()}


def test_each_setting_has_a_row() -> None:
    assert list(ROWS) == [name for name, _, _ in Settings.table()]


@pytest.mark.parametrize(
    "environment",
    [pytest.param(each, id=f"{name}-{number}") for name, row in ROWS.items() for number, each in enumerate(row)],
)
def test_a_server_is_healthy_with_this_setting(
    start_server: StartServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    if ":" in environment.get("MOH_BIND", "") and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    settings = filled(environment, tmp_path)
    server = start_server(**settings)
    own = {"MOH_BIND": "127.0.0.1", **settings, "MOH_SIP_PORT": str(server.port)}
    own["MOH_SIP_PORT"] = f" {own['MOH_SIP_PORT']} "
    checks: list[subprocess.CompletedProcess[str]] = []

    def is_healthy() -> bool:
        checks.append(check(**own))
        return checks[-1].returncode != 1 or server.process.poll() is not None

    wait_for(is_healthy, "a healthy server", 20)
    assert (checks[-1].returncode, checks[-1].stderr) == (0, ""), checks[-1].stdout + server.log
    assert checks[-1].stdout.startswith("ok   ")


def test_the_check_waits_for_a_server_that_is_not_ready_yet(start_server: StartServer, tmp_path: Path) -> None:
    slow = tmp_path / "bin"
    slow.mkdir()
    wait = f"case $* in *-encoders*) ;; *) while [ ! -e {tmp_path}/go ]; do sleep 0.05; done;; esac"
    (slow / "ffmpeg").write_text(f'#!/bin/sh\n{wait}\nexec {shutil.which("ffmpeg")} "$@"\n')
    (slow / "ffmpeg").chmod(0o755)
    server = start_server(MOH_CACHE=str(tmp_path / "cache"), PATH=f"{slow}:{os.environ['PATH']}")
    wait_for(lambda: not is_free(server.port), "a server that listens")
    with ThreadPoolExecutor() as pool:
        ran = pool.submit(check, MOH_BIND="127.0.0.1", MOH_SIP_PORT=str(server.port))
        server.says("503 The music is not ready yet")
        (tmp_path / "go").touch()
        assert (ran.result().returncode, ran.result().stderr) == (0, ""), ran.result().stdout


@pytest.fixture
def held_back(start_server: StartServer, tmp_path: Path) -> tuple[Running, Path]:
    """Return a server that plays the built-in piece, and the file that has it convert the music when it is made."""
    bin_folder, go = tmp_path / "bin", tmp_path / "go"
    bin_folder.mkdir()
    (tmp_path / "slow.wav").write_bytes((ROOT / "moh" / "builtin.mp3").read_bytes())
    wait = f"case $* in *slow.wav*) while [ ! -e {go} ]; do sleep 0.05; done; [ ! -s {go} ] || exit 1;; esac"
    (bin_folder / "ffmpeg").write_text(f'#!/bin/sh\n{wait}\nexec {shutil.which("ffmpeg")} "$@"\n')
    (bin_folder / "ffmpeg").chmod(0o755)
    server = start_server(MOH_MUSIC=str(tmp_path / "slow.wav"), PATH=f"{bin_folder}:{os.environ['PATH']}")
    server.says("until it is ready, callers hear the built-in piece")
    return server, go


@pytest.mark.parametrize(
    ("refused", "status", "said"),
    [("", 0, "answered OPTIONS with 200 in "), ("refused", 1, "something is wrong: Cannot play ")],
    ids=["good", "bad"],
)
def test_the_check_waits_until_it_is_known_whether_the_music_plays(
    held_back: tuple[Running, Path], refused: str, status: int, said: str
) -> None:
    server, go = held_back
    with ThreadPoolExecutor() as pool:
        ran = pool.submit(check, MOH_BIND="127.0.0.1", MOH_SIP_PORT=str(server.port))
        wait_for(lambda: server.log.count("OPTIONS sip:123@") > 3 or ran.done(), "a check that asks again and again")
        assert not ran.done(), ran.result().stdout
        go.with_name("new").write_text(refused)
        go.with_name("new").rename(go)
        assert (ran.result().returncode, ran.result().stderr) == (status, ""), ran.result().stdout
    assert said in ran.result().stdout and UNDECIDED not in ran.result().stdout


def test_a_server_whose_music_takes_longer_than_the_check_waits_is_healthy(held_back: tuple[Running, Path]) -> None:
    """An hour of music: callers hear the built-in piece meanwhile, and the check says so."""
    assert (test_udp.UNDECIDED, test_udp.LISTENING) == (UNDECIDED, LISTENING)
    server, go = held_back
    ran = check("--wait", "1", MOH_BIND="127.0.0.1", MOH_SIP_PORT=str(server.port))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("ok   ") and ran.stdout.endswith(f"; {UNDECIDED}\n")
    go.touch()


@pytest.mark.parametrize("ffmpegs", ["50", "0"], ids=["ffmpeg", "shared stream"])
def test_a_server_that_answers_and_whose_engine_sends_nothing_is_unhealthy(
    start_server: StartServer, tmp_path: Path, ffmpegs: str
) -> None:
    """The ffmpeg fails from some moment on. OPTIONS and calls get 200 all the same."""
    bad, program = tmp_path / "bad", tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ ! -e {bad} ] || exit 7\nexec {shutil.which("ffmpeg")} "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    server = start_server(PATH=path, MOH_FFMPEG_CALLS=ffmpegs, MOH_LOG="info").ready()
    own = {"MOH_BIND": "127.0.0.1", "MOH_SIP_PORT": str(server.port)}
    bad.touch()
    ran = check(**own)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "something is wrong: no music leaves the server: " in ran.stdout, ran.stdout
    server.says("ERROR   no music leaves the server: ")
    bad.unlink()
    wait_for(lambda: check(**own).returncode == 0, "a server that is healthy again")
    server.says("music leaves the server again")


@pytest.mark.parametrize("ffmpegs", ["5", "0"], ids=["ffmpeg", "shared stream"])
def test_the_check_is_no_call_and_leaves_no_line(start_server: StartServer, ffmpegs: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=ffmpegs, MOH_LOG="info").ready()
    before = server.log
    for _ in range(3):
        ran = check(MOH_BIND="127.0.0.1", MOH_SIP_PORT=str(server.port))
        assert ran.returncode == 0, ran.stdout
    assert server.log == before
    assert server.has_no_ffmpeg()
    state = read_state("127.0.0.1", server.port)
    assert (state["calls"]["now"], state["totals"]["calls"], state["totals"]["last_call"]) == (0, [], None)
    assert not state["ended"] and not state["refusals"] and not state["trouble"]
    assert state["totals"]["ffmpeg_starts"] == 0


def test_without_a_server_the_check_fails() -> None:
    ran = check(MOH_BIND="127.0.0.1", MOH_SIP_PORT=str(free_ports(1)))
    assert ran.returncode == 1
    assert "no program listens on UDP port" in ran.stdout


def test_a_setting_with_which_no_server_starts_is_reported_in_one_line() -> None:
    for name, value in (("MOH_BIND", "localhost"), ("MOH_SIP_PORT", "sip")):
        ran = check(**{name: value})
        assert ran.returncode == 2
        assert value in ran.stderr.splitlines()[-1] and "expected" in ran.stderr


@pytest.mark.parametrize(
    ("bind", "port", "asked"),
    [
        ("", "", "127.0.0.1:5060"), ("0.0.0.0", "5070", "127.0.0.1:5070"), ("::", "", "127.0.0.1:5060"),
        ("0::0", "", "127.0.0.1:5060"), ("::ffff:0.0.0.0", "", "127.0.0.1:5060"),
        (" 192.0.2.9\t", " 5070 ", "192.0.2.9:5070"),
        ("[2001:db8::9]", "", "[2001:db8::9]:5060"), ("::ffff:192.0.2.9", "", "192.0.2.9:5060"),
    ],
)  # fmt: skip
def test_the_check_asks_where_the_server_listens(bind: str, port: str, asked: str) -> None:
    assert str(server_here({"MOH_BIND": bind, "MOH_SIP_PORT": port})) == asked
