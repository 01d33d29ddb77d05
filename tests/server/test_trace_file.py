"""The file of the trace: bounded, whole, readable for its owner only, and no other file is touched."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moh.server.pcapng import file_header
from moh.server.trace_file import TraceFile, Unusable
from tests.support.capture import blocks

HEADER = file_header("moh")
BLOCK = (6).to_bytes(4, "little") + (100).to_bytes(4, "little") + bytes(88) + (100).to_bytes(4, "little")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "moh.pcapng"


@pytest.fixture
def file(path: Path) -> Iterator[TraceFile]:
    made = TraceFile(str(path), HEADER, most_octets=1000)
    yield made
    made.close()


def former(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def count(path: Path) -> int:
    return len(blocks(path.read_bytes())) - 2


def test_only_its_owner_may_read_it_whatever_the_umask_is(path: Path, file: TraceFile) -> None:
    old = os.umask(0)
    try:
        file.write(BLOCK)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert count(path) == 1


def test_a_full_file_becomes_the_former_one_and_there_are_never_more_than_two(path: Path, file: TraceFile) -> None:
    for _ in range(50):
        file.write(BLOCK)
        sizes = {each.name: each.stat().st_size for each in path.parent.iterdir()}
        assert sizes.keys() <= {path.name, former(path).name} and max(sizes.values()) <= 1000
    most = (1000 - len(HEADER)) // len(BLOCK)
    assert count(former(path)) == most and 0 < count(path) <= most


def test_an_earlier_trace_becomes_the_former_one(path: Path, file: TraceFile) -> None:
    path.write_bytes(HEADER + BLOCK)
    former(path).write_bytes(HEADER)
    file.write(BLOCK + BLOCK)
    assert (count(former(path)), count(path)) == (1, 2)


def test_an_empty_file_is_used(path: Path, file: TraceFile) -> None:
    path.touch()
    file.write(BLOCK)
    assert count(path) == 1 and not former(path).exists()


@pytest.mark.parametrize("name", ["moh.pcapng", "moh.pcapng.1"])
def test_a_file_that_is_no_trace_is_kept(path: Path, file: TraceFile, name: str) -> None:
    other = path.with_name(name)
    other.write_bytes(b"ID3 music")
    with pytest.raises(Unusable, match="is no trace and is kept; expected the name of a new file"):
        file.write(BLOCK)
    assert other.read_bytes() == b"ID3 music"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (Path.mkdir, "a folder"),
        (os.mkfifo, "a pipe"),
        (lambda path: path.symlink_to("/dev/full"), "a link"),
        (make_socket, "a socket"),
    ],
    ids=["folder", "pipe", "link", "socket"],
)
@pytest.mark.parametrize("name", ["moh.pcapng", "moh.pcapng.1"])
def test_what_is_no_file_is_named_and_not_opened(
    path: Path, file: TraceFile, make: Callable[[Path], object], kind: str, name: str
) -> None:
    make(path.with_name(name))
    with pytest.raises(Unusable, match=f"is {kind}; expected the name of a new file, or of an earlier trace"):
        file.write(BLOCK)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/null", "a device"),
        ("/no/such/folder/x", "No such file or directory"),
        ("/proc/x", "No such file or directory"),
        ("", "No such file or directory"),
    ],
)
def test_a_path_that_cannot_be_written_is_named(path: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        TraceFile(path, HEADER).write(BLOCK)


def test_a_folder_that_may_not_be_written_is_named(
    path: Path, file: TraceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(Unusable, match="Permission denied"):
        file.write(BLOCK)


def test_half_a_block_on_a_full_disk_is_taken_back_and_later_ones_follow(
    path: Path, file: TraceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(BLOCK)
    write = os.write
    room = [30]

    def full(descriptor: int, octets: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, octets[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        for _ in range(2):
            with pytest.raises(Unusable, match="No space left on device"):
                file.write(BLOCK)
            room[0] = 10
    assert count(path) == 1
    file.write(BLOCK)
    assert count(path) == 2


def test_a_disk_that_is_full_from_the_start_leaves_no_header_that_is_cut(
    path: Path, file: TraceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        with pytest.raises(Unusable):
            file.write(BLOCK)
    assert path.stat().st_size == 0
    file.write(BLOCK)
    assert count(path) == 1


@pytest.mark.parametrize("event", ["removed", "moved", "emptied"])
def test_a_file_that_somebody_else_changes_begins_anew(path: Path, file: TraceFile, event: str) -> None:
    file.write(BLOCK)
    if event == "removed":
        path.unlink()
    elif event == "moved":
        path.rename(path.with_name("kept.pcapng"))
    else:
        os.truncate(path, 0)
    file.write(BLOCK)
    assert count(path) == 1


def test_a_trace_without_messages_replaces_no_former_trace(path: Path) -> None:
    """A server that cannot start is started again and again."""
    for octets in (BLOCK, b"", b"", b""):
        started = TraceFile(str(path), HEADER, most_octets=1000)
        started.write(octets)
        started.close()
    assert count(former(path)) == 1 and count(path) == 0
