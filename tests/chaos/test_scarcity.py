"""End to end: no process, no descriptor, no disk, no memory is left for a server that plays; later there is again."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from tests.chaos.crew import ENGINES, SLOW, Rest, all_hear, calls, hang_up
from tests.support.phone import Ear, Phone, offer
from tests.support.running import Running, wait_for

if sys.platform != "linux":
    pytest.skip("needs Linux, which can limit a process that runs", allow_module_level=True)


SET = """import resource, sys
pid, kind, most = map(int, sys.argv[1:])
_, hard = resource.prlimit(pid, kind)
resource.prlimit(pid, kind, (hard if most < 0 else most, hard))
"""


@contextmanager
def limited(server: Running, kind: int, most: int, before: Sequence[str] = ()) -> Iterator[None]:
    """Let a server that runs have no more of something than that, for a while; ``before`` makes us its own user."""

    def limit(most: int) -> None:
        words = [sys.executable, "-c", SET, str(server.process.pid), str(kind), str(most)]
        subprocess.run([*before, *words], check=True)

    limit(most)
    try:
        yield
    finally:
        if server.process.poll() is None:
            limit(-1)


@pytest.fixture
def somebody() -> Iterator[dict[str, Any]]:
    """What a server is started with to run as a user whom limits concern, though root's folders are open to it."""
    user = os.getuid() or 50_000 + os.getpid() % 10_000  # nobody else's, so that its processes only are counted
    with tempfile.TemporaryDirectory() as folder:
        if os.getuid() == user:
            yield {"MOH_CACHE": folder}
            return
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv (util-linux) to run the server as a user for whom processes are limited")
        os.chown(folder, user, user)
        rights = "+dac_override"
        words = ["--reuid", str(user), "--clear-groups", "--inh-caps", rights, "--ambient-caps", rights, "--"]
        yield {"MOH_CACHE": folder, "before": ["setpriv", *words]}


def try_to_call(server: Running, count: int) -> None:
    """Calls that need not succeed. Each must have its final answer, and none may stay without its end."""
    answers: list[str] = []
    for _ in range(count):
        with Phone(server.address) as phone, Ear() as ear:
            phone.send(phone.invite(ear.address))
            try:
                answer = phone.receive(1.0)
                while answer.status < 200:
                    answer = phone.receive(1.0)
            except AssertionError:
                answers.append("none")
                continue
            answers.append(str(answer.status))
            phone.to_tag = answer.to_tag
            phone.ack()
            if answer.status == 200:
                phone.send(phone.request("BYE"))
    print(f"meanwhile: {', '.join(f'{answers.count(each)} x {each}' for each in sorted(set(answers)))}")


def no_more(server: Running) -> None:
    """A server that ends in order has stumbled over nothing."""
    server.terminate()
    assert server.exit_status() == 0, server.log[-3000:]


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_process_or_thread_who_is_there_hears_on_and_who_comes_gets_a_bye(
    start_server: StartServer, somebody: dict[str, Any], engine: str
) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, **somebody).ready()
    rest = Rest(server)
    with calls(server, 3) as held, limited(server, resource.RLIMIT_NPROC, 1, somebody.get("before", ())):
        with Phone(server.address) as phone, Ear() as ear:
            # in another codec, which nobody has encoded yet
            answer = phone.ask(phone.invite(ear.address).replace(b"RTP/AVP 0 8 101", b"RTP/AVP 8 101 0"))
            assert answer.status == 200
            phone.to_tag = answer.to_tag
            phone.ack()
            phone.await_request("BYE", SLOW)
        with socket.create_connection(server.address) as refused:
            refused.settimeout(10)
            assert refused.recv(100) == b"", "no thread for a connection, so it is closed"
        all_hear(held)
        hang_up(held)
    rest.is_well()
    with limited(server, resource.RLIMIT_NPROC, 1, somebody.get("before", ())):
        no_more(server)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_descriptor_who_is_there_hears_on(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine).ready()
    rest = Rest(server)
    with calls(server, 3) as held, ExitStack() as stack:
        used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        with limited(server, resource.RLIMIT_NOFILE, used):
            try_to_call(server, 5)
            for _ in range(3):  # nobody takes them
                stack.enter_context(socket.create_connection(server.address))
            before = processor(server)
            time.sleep(1.0)
            print(f"{100 * (processor(server) - before):.0f} % of a core with connections that cannot be taken")
            all_hear(held)
        stack.close()
        all_hear(held)
        hang_up(held)
    rest.is_well()
    no_more(server)


def processor(server: Running) -> float:
    """Seconds of processor that it has had."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("engine", ENGINES)
def test_without_memory_who_is_there_hears_on_and_when_there_is_again_everybody_does(
    start_server: StartServer, engine: str
) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 3) as held:
        size = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        with limited(server, resource.RLIMIT_AS, size):
            try_to_call(server, 60)
            all_hear(held)
        all_hear(held)
        hang_up(held)
    rest.is_well()
    no_more(server)


def test_without_memory_who_shares_hears_on_though_others_want_what_nobody_has_encoded(
    start_server: StartServer,
) -> None:
    """Each codec is encoded by a thread and an ffmpeg of its own, for which there is no room now."""
    server = start_server(MOH_FFMPEG_CALLS="0", MOH_LOG="info").ready()
    with calls(server, 3) as held:
        size = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        with limited(server, resource.RLIMIT_AS, size), ExitStack() as stack:
            for codec in [8, 9] * 20:
                phone, ear = stack.enter_context(Phone(server.address)), stack.enter_context(Ear())
                phone.send(phone.request("INVITE", body=offer(ear.address, formats=str(codec))))
                try:
                    answer = phone.receive(1.0)
                    while answer.status < 200:
                        answer = phone.receive(1.0)
                except AssertionError:
                    continue
                phone.to_tag = answer.to_tag
                phone.ack()
            all_hear(held)
        all_hear(held)
        hang_up(held)
    no_more(server)


# -- disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A small file system which only the server sees, and the words that make it."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size="$0" tmpfs {folder} && exec "$@"']
    probe = subprocess.run([*words, "1M", "true"], capture_output=True, text=True) if shutil.which("unshare") else None
    if probe is None or probe.returncode != 0:
        pytest.skip(f"needs root, to mount a small disk: {probe.stderr.strip() if probe else 'no unshare'}")
    yield folder, words


def test_a_disk_that_is_full_at_the_start_is_told_in_one_line(
    start_server: StartServer, mounted: tuple[Path, list[str]]
) -> None:
    folder, words = mounted
    server = start_server(before=[*words, "100k"], MOH_CACHE=str(folder), TMPDIR=str(folder), MOH_LOG="error")
    assert server.exit_status() == 1
    assert server.log.count("\n") == 1, server.log
    print(server.log.strip())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_that_fills_up_keeps_the_old_music_playing(
    start_server: StartServer, mounted: tuple[Path, list[str]], tmp_path: Path, engine: str
) -> None:
    folder, words = mounted
    music = tmp_path / "music.mp3"
    shutil.copy(Path(__file__).parent.parent.parent / "moh" / "builtin.mp3", music)
    server = start_server(
        before=[*words, "40M"], MOH_CACHE=str(folder), TMPDIR=str(folder), MOH_MUSIC=str(music), MOH_FFMPEG_CALLS=engine
    ).ready()
    with calls(server, 3) as held:
        inside = Path(f"/proc/{server.process.pid}/root{folder}/stuff")
        with pytest.raises(OSError), inside.open("wb", buffering=0) as stuff:
            while True:
                stuff.write(bytes(1 << 16))
        with music.open("ab") as changed:
            changed.write(bytes(1000))
        server.process.send_signal(signal.SIGHUP)
        server.says("the new music is refused, the former plays on")
        all_hear(held)
        with calls(server, 2) as more:
            all_hear(more)
            hang_up(more)
        inside.unlink()
        server.process.send_signal(signal.SIGHUP)
        server.says("new music, for the next callers")
        all_hear(held)
        hang_up(held)
    Rest(server).is_well()  # the files of the former music stay until there is a third
    no_more(server)


def test_a_log_on_a_full_disk_stops_nobody(start_server: StartServer) -> None:
    """/dev/full takes nothing; the server writes its log there."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
        server = start_server(before=words, MOH_CACHE=folder)
        with Phone(server.address) as phone:
            wait_for(lambda: is_answered(phone), "the server", 60)
        with calls(server, 2) as held:
            all_hear(held)
            hang_up(held)
        no_more(server)


def is_answered(phone: Phone) -> bool:
    phone.send(phone.request("OPTIONS"))
    phone.socket.settimeout(0.3)
    try:
        return b" 200 " in phone.socket.recv(65535)[:20]
    except OSError:
        return False
