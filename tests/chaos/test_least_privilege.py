"""End to end: the server works with the few privileges that the compose file leaves. Needs root and Linux, no Docker.

The test makes a folder that becomes the root folder of the server. It holds the folders of the system and of Python,
bound read-only, the server as the Dockerfile copies it, and a ``/tmp``. It has no other file of this machine.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import StartServer
from tests.chaos.support import Held, all_hear
from tests.support.phone import Ear, Phone
from tests.support.running import ROOT, Running, ffmpegs_of, wait_for

USER = "5060"
"""The user and group of the server in the image."""
SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"]
PYTHON = [os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix), sys.base_prefix]
MAY_WRITE = {"/tmp", "/proc", "/dev/null", "/dev/zero", "/dev/urandom"}
"""Mounts that are not read-only. Below /proc the server's user can write only to files of its own processes."""
MAKE_ROOT = """
set -eu
umask 022
tree=$0 app=$1
shift
mount -t tmpfs -o mode=755 tmpfs "$tree"
mkdir "$tree/proc" "$tree/dev" "$tree/tmp"
mount -t tmpfs -o mode=1777,nosuid,nodev,noexec,size=64m tmpfs "$tree/tmp"
for folder; do
    if [ "$folder" = -- ]; then break; fi
    mkdir -p "$tree$(dirname "$folder")"
    if [ -L "$folder" ]; then
        [ -L "$tree$folder" ] || cp -P "$folder" "$tree$folder"
    elif [ -d "$folder" ]; then
        mkdir -p "$tree$folder"
        mount --bind "$folder" "$tree$folder"
        mount -o remount,bind,ro "$tree$folder"
    fi
done
while [ "$1" != -- ]; do shift; done
mkdir "$tree/app"
mount --bind "$app" "$tree/app"
mount -o remount,bind,ro "$tree/app"
mount -t proc -o nosuid,nodev,noexec proc "$tree/proc"
for device in null zero urandom; do
    : >"$tree/dev/$device"
    mount --bind "/dev/$device" "$tree/dev/$device"
done
mount -o remount,ro "$tree"
shift
exec chroot "$tree" setpriv --reuid 5060 --regid 5060 --clear-groups --inh-caps=-all --bounding-set=-all \\
    --no-new-privs -- "$@"
"""
"""A shell script that makes the root folder of the server and runs a command in it.

Its arguments: $0, the folder that becomes the root; $1, the folder of the server; folders to be bound; ``--``; and the
command.
"""


def root_command(folder: Path) -> list[str]:
    """Return a command that runs its arguments in a new root folder below ``folder``.

    Skips the test if the machine cannot have one.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux, and root to mount folders read-only")
    for tool in ("unshare", "mount", "chroot", "setpriv"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}: apt-get install util-linux mount coreutils")
    tree, app = folder / "tree", folder / "app"
    tree.mkdir()
    app.mkdir()
    shutil.copytree(ROOT / "moh", app / "moh", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "sip_server.py", app)
    for path in [app, *app.rglob("*")]:  # make all readable for any user, even if the umask of the checkout forbids it
        path.chmod(0o755 if path.is_dir() else 0o644)
    ffmpeg = str(Path(shutil.which("ffmpeg") or "").resolve().parent)
    others = [] if ffmpeg.startswith("/usr/") else [ffmpeg]
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        MAKE_ROOT,
        str(tree),
        str(app),
        *SYSTEM,
        *others,
        *dict.fromkeys(PYTHON),
        "--",
    ]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"cannot make a root folder for the server: {probe.stderr.strip()}")
    return command


def facts(pid: int) -> dict[str, str]:
    """Return the fields of ``/proc/PID/status``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def has_no_privilege(pid: int) -> None:
    """Check that the process has no privilege and cannot get one."""
    found = facts(pid)
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert set(found["Uid"].split()) == set(found["Gid"].split()) == {USER} and not found["Groups"]


def can_write_only_to_tmp(server: Running) -> None:
    """Check that all mounts but ``MAY_WRITE`` are read-only, so that not even root could write there."""
    mounts = [line.split() for line in Path(f"/proc/{server.process.pid}/mountinfo").read_text().splitlines()]
    writable = {mount[4] for mount in mounts if "ro" not in mount[5].split(",")}
    assert "/" in {mount[4] for mount in mounts} and writable == MAY_WRITE
    root = Path(f"/proc/{server.process.pid}/root")
    for folder in ("", "app", "usr", "etc", PYTHON[0].lstrip("/")):
        with pytest.raises(OSError) as refused:
            (root / folder / "new").touch()
        assert refused.value.errno == errno.EROFS
    assert (root / "tmp" / "moh").stat().st_uid == int(USER), "the converted music"


def test_the_server_plays_and_stops_without_root_without_capabilities_and_with_tmp_only(
    start_server: StartServer, tmp_path: Path
) -> None:
    """An ffmpeg plays to the first call, the shared stream to the second one."""
    command = root_command(tmp_path)
    python = str(Path(PYTHON[0], "bin", Path(sys.executable).name))
    server = start_server(
        before=[*command, "sh", "-c", 'exec "$0" /app/sip_server.py', python],
        MOH_CACHE="/tmp/moh", MOH_MUSIC="/app/moh/builtin.mp3", MOH_FFMPEG_CALLS="1", MOH_LOG="info",
    ).ready()  # fmt: skip
    with ExitStack() as stack:
        held = []
        for _ in range(2):
            phone, ear = stack.enter_context(Phone(server.address)), stack.enter_context(Ear())
            held.append(Held(phone, ear, phone.call(ear.address).media[1]))
        all_hear(held)
        assert {packet.payload_type for one in held for packet in one.ear.packets(5)} == {0}, "PCMU"
        assert held[0].port != held[1].port
        (ffmpeg,) = wait_for(lambda: ffmpegs_of(server.process.pid), "the ffmpeg of the first call")
        assert ffmpeg == held[0].ffmpeg(server)
        for pid in (server.process.pid, ffmpeg):
            has_no_privilege(pid)
        assert Path(f"/proc/{ffmpeg}/oom_score_adj").read_text().strip() == "900"
        can_write_only_to_tmp(server)
        server.terminate()
        for one in held:
            one.is_ended_by_the_server()
            assert one.ear.falls_silent()
    assert server.exit_status() == 0, server.log
    assert "WARNING" not in server.log and "Traceback" not in server.log, server.log
