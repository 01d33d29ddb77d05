"""End to end: what the compose file leaves to the server is enough for it. Without Docker; needs root, and Linux.

A tree of the test's own is the server's root: the system's and Python's folders, bound so that they can only be read,
the server as the Dockerfile copies it, and a ``/tmp``. Nothing else of this machine is in it.
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
from tests.chaos.crew import Held, all_hear
from tests.support.phone import Ear, Phone
from tests.support.running import ROOT, Running, ffmpegs_of, wait_for

USER = "5060"
"""The image's, and its group."""
SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"]
PYTHON = [os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix), sys.base_prefix]
MAY_WRITE = {"/tmp", "/proc", "/dev/null", "/dev/zero", "/dev/urandom"}
"""Where a mount is not read-only: /proc holds, for such a user, but what concerns his own processes."""
PLANT = """
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
"""$0 is the folder that becomes the root, $1 that of the server; then folders to be bound, ``--`` and a command."""


def planted(folder: Path) -> list[str]:
    """The words that run a command in a tree under ``folder``; skips where there can be none."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux, and root to mount folders that can only be read")
    for tool in ("unshare", "mount", "chroot", "setpriv"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    tree, app = folder / "tree", folder / "app"
    tree.mkdir()
    app.mkdir()
    shutil.copytree(ROOT / "moh", app / "moh", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "sip_server.py", app)
    for path in [app, *app.rglob("*")]:  # readable for any user, however strict the checkout is
        path.chmod(0o755 if path.is_dir() else 0o644)
    ffmpeg = str(Path(shutil.which("ffmpeg") or "").resolve().parent)
    others = [] if ffmpeg.startswith("/usr/") else [ffmpeg]
    words = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        PLANT,
        str(tree),
        str(app),
        *SYSTEM,
        *others,
        *dict.fromkeys(PYTHON),
        "--",
    ]
    probe = subprocess.run([*words, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no tree can be made here: {probe.stderr.strip()}")
    return words


def facts(pid: int) -> dict[str, str]:
    """``/proc/PID/status``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def has_no_privilege(pid: int) -> None:
    """Fails where the process has any, or could get any."""
    found = facts(pid)
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert set(found["Uid"].split()) == set(found["Gid"].split()) == {USER} and not found["Groups"]


def can_write_only_to_tmp(server: Running) -> None:
    """Fails where its root, or a mount below it, is not read-only; not even root could write there."""
    mounts = [line.split() for line in Path(f"/proc/{server.process.pid}/mountinfo").read_text().splitlines()]
    writable = {mount[4] for mount in mounts if "ro" not in mount[5].split(",")}
    assert "/" in {mount[4] for mount in mounts} and writable == MAY_WRITE
    root = Path(f"/proc/{server.process.pid}/root")
    for folder in ("", "app", "usr", "etc", PYTHON[0].lstrip("/")):
        with pytest.raises(OSError) as refused:
            (root / folder / "new").touch()
        assert refused.value.errno == errno.EROFS
    assert (root / "tmp" / "moh").stat().st_uid == int(USER), "the converted music"


def test_without_root_capabilities_or_a_place_to_write_but_tmp_it_plays_and_ends_in_order(
    start_server: StartServer, tmp_path: Path
) -> None:
    """The first call has an ffmpeg of its own, the second hears the shared stream."""
    words = planted(tmp_path)
    python = str(Path(PYTHON[0], "bin", Path(sys.executable).name))
    server = start_server(
        before=[*words, "sh", "-c", 'exec "$0" /app/sip_server.py', python],
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
