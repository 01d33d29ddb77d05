"""Scans of folders in the file system: odd entries, and lists. There is no ffmpeg and no other process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from moh.library.listing import Kind, Text
from moh.library.scan import Scanner

is_root = os.geteuid() == 0


def faults(folder: Path) -> dict[str, str]:
    return {item.name: item.fault for item in Scanner(folder).scan().items}


def test_files_folders_and_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "jazz.mp3").write_bytes(b"12345")
    (tmp_path / "folk").mkdir()
    (tmp_path / "folk" / "1.mp3").write_bytes(b"1")
    (tmp_path / "folk" / "inner").mkdir()
    found = Scanner(tmp_path).scan()
    assert [(item.name, item.kind) for item in found.items] == [("folk", Kind.FOLDER), ("jazz.mp3", Kind.FILE)]
    assert [item.name for item in found.inside["folk"]] == ["1.mp3", "inner"]
    assert found.files()["jazz.mp3"].facts[2] == 5
    assert set(found.files()) == {"jazz.mp3", "folk/1.mp3"}


def test_a_scan_of_the_same_folder_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "jazz.mp3").write_bytes(b"1")
    (tmp_path / "live.url").write_bytes(b"http://radio.example/")
    scanner = Scanner(tmp_path)
    one, other = scanner.scan(), scanner.scan()
    assert (one.items, one.inside, one.texts) == (other.items, other.inside, other.texts)
    (tmp_path / "jazz.mp3").write_bytes(b"22")
    assert scanner.scan().items != one.items


def test_links_are_followed_and_bad_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "1.mp3").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dead.mp3").symlink_to("nowhere")
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    (tmp_path / "self").symlink_to(".")
    found = Scanner(tmp_path).scan()
    assert [item.name for item in found.inside["link"]] == ["1.mp3"]
    assert "self" in found.inside, "a link to the folder itself is a folder; those in it are not entered"
    assert faults(tmp_path)["dead.mp3"] == "it is a link to 'nowhere', which does not exist"
    assert faults(tmp_path)["loop.mp3"].startswith("it is a link to 'loop.mp3', which leads nowhere (Too many levels")


def test_pipes_sockets_and_devices_are_named_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")
    os.mkfifo(tmp_path / "pipe.url")
    (tmp_path / "null.mp3").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket.mp3"))
        assert set(faults(tmp_path).values()) == {"it is a device, a pipe or a socket"}


@pytest.mark.skipif(is_root, reason="root may read everything")
def test_a_folder_and_a_list_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "jazz").mkdir(mode=0)
    (tmp_path / "live.url").write_bytes(b"http://radio.example/")
    (tmp_path / "live.url").chmod(0)
    found = Scanner(tmp_path).scan()
    assert "Run chmod a+rx on it" in found.items[0].fault
    assert "Run chmod a+r on it" in found.texts["live.url"].fault


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jazz").mkdir()
    real = os.scandir

    def scandir(path: Path) -> object:
        if path == tmp_path / "jazz":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("moh.library.scan.os.scandir", scandir)
    assert faults(tmp_path)["jazz"].startswith(f"the server (user {os.geteuid()}) may not read the folder")


def test_a_music_folder_that_is_gone_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    scanner = Scanner(folder)
    assert scanner.scan().fault == "No such file or directory"
    folder.mkdir()
    (folder / "jazz.mp3").write_bytes(b"1")
    assert [item.name for item in scanner.scan().items] == ["jazz.mp3"]


def test_lists_are_read_when_they_change(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path)
    path = tmp_path / "live.URL"
    path.write_bytes(b"http://one.example/")
    assert scanner.scan().texts == {"live.URL": Text(b"http://one.example/")}
    path.write_bytes(b"http://two.example/x")
    assert scanner.scan().texts == {"live.URL": Text(b"http://two.example/x")}
    path.unlink()
    assert scanner.scan().texts == {}


def test_of_a_long_list_only_the_beginning_is_read(tmp_path: Path) -> None:
    (tmp_path / "live.m3u").write_bytes(b"x" * 1000000)
    assert len(Scanner(tmp_path).scan().texts["live.m3u"].octets) == 65537


def test_names_of_all_octets(tmp_path: Path) -> None:
    names = [b"caf\xe9.mp3", "\U0001f3b7.mp3".encode(), b"x" * 255, b"a\nb", b"...", b"-", b"%00.mp3", b"a;b:c.mp3"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"1")
    assert {os.fsencode(item.name) for item in Scanner(tmp_path).scan().items} == set(names)


def test_an_entry_that_vanishes_during_the_scan_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Vanishing:
        name, path = "jazz.mp3", str(tmp_path / "jazz.mp3")

        def stat(self) -> os.stat_result:
            raise FileNotFoundError(2, "No such file or directory")

        def is_symlink(self) -> bool:
            return False

    class Entries:
        def __enter__(self) -> list[Vanishing]:
            return [Vanishing()]

        def __exit__(self, *raised: object) -> None:
            pass

    monkeypatch.setattr("moh.library.scan.os.scandir", lambda path: Entries())
    assert faults(tmp_path) == {"jazz.mp3": "No such file or directory"}
