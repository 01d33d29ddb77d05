"""End to end: a server that plays runs out of processes, descriptors, memory or disk, and later gets them back."""

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
from tests.chaos.support import ENGINES, SLOW, Rest, all_hear, answers_options, calls, final_answer, hang_up
from tests.support.phone import Ear, Phone, offer
from tests.support.running import ROOT, Running, wait_for

if sys.platform != "linux":
    pytest.skip("needs Linux, which can limit a running process", allow_module_level=True)


SET_LIMIT = """import resource, sys
pid, kind, most = map(int, sys.argv[1:])
_, hard = resource.prlimit(pid, kind)
resource.prlimit(pid, kind, (hard if most < 0 else most, hard))
"""


@contextmanager
def limited(server: Running, kind: int, most: int, before: Sequence[str] = ()) -> Iterator[None]:
    """Limit a resource of a running server until the end of the ``with`` block.

    ``before`` is the start of a command that runs as the server's user.
    """

    def limit(most: int) -> None:
        command = [sys.executable, "-c", SET_LIMIT, str(server.process.pid), str(kind), str(most)]
        subprocess.run([*before, *command], check=True)

    limit(most)
    try:
        yield
    finally:
        if server.process.poll() is None:
            limit(-1)


@pytest.fixture
def as_user() -> Iterator[dict[str, Any]]:
    """Yield the arguments that start a server as a user with a limit of processes. It can read the folders of root."""
    user = os.getuid() or 50_000 + os.getpid() % 10_000  # a user without other processes: the limit counts them all
    with tempfile.TemporaryDirectory() as folder:
        if os.getuid() == user:
            yield {"MOH_CACHE": folder}
            return
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv, to run the server as another user than root: apt-get install util-linux")
        os.chown(folder, user, user)
        rights = "+dac_override"
        options = ["--reuid", str(user), "--clear-groups", "--inh-caps", rights, "--ambient-caps", rights, "--"]
        yield {"MOH_CACHE": folder, "before": ["setpriv", *options]}


def try_to_call(server: Running, count: int) -> None:
    """Make ``count`` calls, each of which may fail, and end those that succeed."""
    answers: list[str] = []
    for _ in range(count):
        with Phone(server.address) as phone, Ear() as ear:
            phone.send(phone.invite(ear.address))
            answer = final_answer(phone)
            answers.append(str(answer.status) if answer else "no answer")
            if answer:
                phone.to_tag = answer.to_tag
                phone.ack()
                if answer.status == 200:
                    phone.send(phone.request("BYE"))
    print(f"meanwhile: {', '.join(f'{answers.count(each)} x {each}' for each in sorted(set(answers)))}")


def memory_size(server: Running) -> int:
    """Return the octets of address space that the server uses, counted as RLIMIT_AS counts them."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()


def stops_in_order(server: Running) -> None:
    server.terminate()
    assert server.exit_status() == 0, server.log[-3000:]


@pytest.mark.parametrize("engine", ENGINES)
def test_without_processes_calls_go_on_and_a_new_one_gets_a_bye(
    start_server: StartServer, as_user: dict[str, Any], engine: str
) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, **as_user).ready()
    rest = Rest(server)
    with calls(server, 3) as held, limited(server, resource.RLIMIT_NPROC, 1, as_user.get("before", ())):
        with Phone(server.address) as phone, Ear() as ear:
            phone.call_with(offer(ear.address, formats="8 101 0"))  # no call has had this codec before
            phone.await_request("BYE", SLOW)
        with socket.create_connection(server.address) as refused:
            refused.settimeout(10)
            assert refused.recv(100) == b"", "closed, since no thread can be started for it"
        all_hear(held)
        hang_up(held)
    rest.is_well()
    with limited(server, resource.RLIMIT_NPROC, 1, as_user.get("before", ())):
        stops_in_order(server)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_descriptors_calls_go_on(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine).ready()
    rest = Rest(server)
    with calls(server, 3) as held, ExitStack() as stack:
        used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        with limited(server, resource.RLIMIT_NOFILE, used):
            try_to_call(server, 5)
            for _ in range(3):  # the server cannot accept these connections
                stack.enter_context(socket.create_connection(server.address))
            before = cpu_time(server)
            time.sleep(1.0)  # the printed figure is the CPU time of this second
            print(f"{100 * (cpu_time(server) - before):.0f} % of a core with connections that cannot be accepted")
            all_hear(held)
        stack.close()
        all_hear(held)
        hang_up(held)
    rest.is_well()
    stops_in_order(server)


def cpu_time(server: Running) -> float:
    """Return the seconds of CPU time that the server has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("engine", ENGINES)
def test_without_memory_calls_go_on_and_later_calls_get_music(start_server: StartServer, engine: str) -> None:
    server = start_server(MOH_FFMPEG_CALLS=engine, MOH_LOG="info").ready()
    rest = Rest(server)
    with calls(server, 3) as held:
        with limited(server, resource.RLIMIT_AS, memory_size(server)):
            try_to_call(server, 60)
            all_hear(held)
        all_hear(held)
        hang_up(held)
    rest.is_well()
    stops_in_order(server)


def test_without_memory_shared_calls_go_on_though_others_ask_for_new_codecs(start_server: StartServer) -> None:
    """Another thread and ffmpeg encode each new codec. No memory is left for them."""
    server = start_server(MOH_FFMPEG_CALLS="0", MOH_LOG="info").ready()
    with calls(server, 3) as held:
        with limited(server, resource.RLIMIT_AS, memory_size(server)), ExitStack() as stack:
            for codec in [8, 9] * 20:
                phone, ear = stack.enter_context(Phone(server.address)), stack.enter_context(Ear())
                phone.send(phone.request("INVITE", body=offer(ear.address, formats=str(codec))))
                if answer := final_answer(phone):
                    phone.to_tag = answer.to_tag
                    phone.ack()
            all_hear(held)
        all_hear(held)
        hang_up(held)
    stops_in_order(server)


# -- disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder, and a command that mounts a small disk there.

    The arguments of that command are the size of the disk, and a command to run.
    """
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size="$0",mode=700 tmpfs {folder} && exec "$@"']
    if not shutil.which("unshare"):
        pytest.skip("needs unshare, to mount a small disk: apt-get install util-linux")
    probe = subprocess.run([*command, "1M", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"needs root, to mount a small disk: {probe.stderr.strip()}")
    yield folder, command


def test_a_disk_that_is_full_at_the_start_is_reported_in_one_line(
    start_server: StartServer, mounted: tuple[Path, list[str]]
) -> None:
    folder, command = mounted
    server = start_server(before=[*command, "100k"], MOH_CACHE=str(folder), TMPDIR=str(folder), MOH_LOG="error")
    assert server.exit_status() == 1
    assert server.log.count("\n") == 1, server.log
    assert "are needed" in server.log and "expected room to write" in server.log, server.log


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_that_fills_up_keeps_the_old_music_playing(
    start_server: StartServer, mounted: tuple[Path, list[str]], tmp_path: Path, engine: str
) -> None:
    folder, command = mounted
    music = tmp_path / "music.mp3"
    shutil.copy(ROOT / "moh" / "builtin.mp3", music)
    server = start_server(
        before=[*command, "40M"],
        MOH_CACHE=str(folder),
        TMPDIR=str(folder),
        MOH_MUSIC=str(music),
        MOH_FFMPEG_CALLS=engine,
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
    Rest(server).is_well()  # the files of the old music stay until the next change of music
    stops_in_order(server)


def test_calls_get_music_though_the_log_is_on_a_full_disk(start_server: StartServer) -> None:
    """The server writes its log to /dev/full: each write fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
        server = start_server(before=command, MOH_CACHE=folder)
        with Phone(server.address) as phone:
            wait_for(lambda: answers_options(phone), "the server", 60)
        with calls(server, 2) as held:
            all_hear(held)
            hang_up(held)
        stops_in_order(server)
