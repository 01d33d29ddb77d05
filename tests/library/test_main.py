"""End to end: the process of the library, started by hand as the server starts it, with short files."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.mastering.tracks import make
from tests.support.running import ROOT, ffmpegs_of, is_running, wait_for

Message = dict[str, Any]


class Started:
    """A library without a server. ``heard`` are its messages so far."""

    def __init__(self, folder: Path, before: Sequence[str] = (), **settings: str) -> None:
        others = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
        self.log = folder.parent / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "moh.library"], cwd=ROOT, bufsize=0, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log,
                env={**others, "MOH_MUSIC": str(folder), "MOH_CACHE": str(folder.parent / "cache"), **settings},
            )  # fmt: skip
        self.messages: list[Message] = []
        self._rest = b""

    def send(self, **message: object) -> None:
        self.write(json.dumps(message).encode() + b"\n")

    def write(self, octets: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(octets)

    def find(self, is_it: Callable[[Message], bool], seconds: float = 90.0) -> Message:
        """Wait for the message that ``is_it``, and forget it and those before it."""
        assert self.process.stdout is not None
        give_up = time.monotonic() + seconds
        while True:
            for number, message in enumerate(self.messages):
                if is_it(message):
                    del self.messages[: number + 1]
                    return message
            left = give_up - time.monotonic()
            assert left > 0, f"waited in vain; {self.messages}; {self.log.read_text()}"
            if select.select([self.process.stdout], [], [], left)[0]:
                octets = os.read(self.process.stdout.fileno(), 65536)
                assert octets, f"it has ended; {self.log.read_text()}"
                *lines, self._rest = (self._rest + octets).split(b"\n")
                self.messages += map(json.loads, lines)

    def ready(self, name: str) -> Message:
        return self.find(lambda message: message["what"] == "ready" and message["name"] == name)

    def state(self, name: str, state: str) -> Message:
        return self.find(lambda each: (each["what"], each.get("name"), each.get("state")) == ("state", name, state))

    def close(self) -> Optional[int]:
        """End its standard input, and wait for its end."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            return self.process.wait(5.0)
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


@pytest.fixture
def start(music: Path) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def begin(before: Sequence[str] = (), **settings: str) -> Started:
        started.append(Started(music, before, **settings))
        return started[-1]

    yield begin
    for each in started:
        if each.process.stdin is not None and not each.process.stdin.closed:
            each.close()
        assert "Traceback" not in each.log.read_text(), each.log.read_text()


def old(path: Path) -> Path:
    """Have the file look as if it had been written long ago: it counts as complete at once."""
    os.utime(path, (1.0e9, 1.0e9))
    return path


def tone(path: Path, seconds: float = 0.5) -> Path:
    return old(make(path, "-t", str(seconds), source=f"sine=frequency=440:sample_rate=8000:duration={seconds}"))


def unfinished(music: Path) -> list[Path]:
    return list((music.parent / "cache").glob("unfinished-*"))


def test_pieces_folders_and_radios(music: Path, start: Callable[..., Started]) -> None:
    tone(music / "jazz.wav")
    (music / "folk").mkdir()
    tone(music / "folk" / "1.wav")
    tone(music / "folk" / "2.wav", 0.7)
    (music / "live.url").write_text("http://radio.example/stream\n")
    (music / "text.mp3").write_text("a text")
    old(music / "text.mp3")
    library = start()
    names = library.find(lambda message: message["what"] == "names")
    assert [(row["name"], row["kind"], row["pieces"]) for row in names["names"]] == [
        ("folk", "folder", 2), ("jazz", "piece", 1), ("live", "radio", 0), ("text", "piece", 1),
    ]  # fmt: skip
    assert (names["default"], names["folder"]) == ("folk", str(music))
    assert library.find(lambda message: message["what"] == "radio")["addresses"] == ["http://radio.example/stream"]
    folk = library.ready("folk")
    assert [piece["file"] for piece in folk["pieces"]] == ["1.wav", "2.wav"]
    assert all(Path(path).is_file() for path in folk["files"].values())
    assert set(folk["files"]) == {"8000", "16000"}
    assert library.ready("jazz")["folders"] != folk["folders"]
    assert "it is a text" in library.state("text", "refused")["why"]
    assert library.close() == 0


def test_changes_of_the_folder_are_seen(music: Path, tmp_path: Path, start: Callable[..., Started]) -> None:
    tone(music / "a.wav")
    library = start()
    library.ready("a")
    tone(tmp_path / "b.wav").rename(music / "b.wav")
    library.ready("b")
    (music / "a.wav").unlink()
    names = library.find(lambda message: message["what"] == "names" and len(message["names"]) == 1)
    assert names["default"] == "b"


def test_what_the_server_sends_by_mistake_is_logged_and_ignored(music: Path, start: Callable[..., Started]) -> None:
    tone(music / "jazz.wav")
    library = start()
    library.write(b"no JSON\n[]\n\xff\n{}\n" + b"x" * 3000000 + b"\n")
    library.send(do="want", names=["../jazz", "\0", 7])
    library.send(do="taken", name=["x"], folders=None)
    library.ready("jazz")
    assert library.log.read_text().splitlines() == ["WARNING the server sent what is no message: b'no JSON\\n'"]


def test_a_check_reads_the_folder_at_once(music: Path, start: Callable[..., Started]) -> None:
    library = start()
    library.find(lambda message: message["what"] == "names")
    make(music / "jazz.wav")  # written just now: without a check it would be waited for
    library.send(do="check")
    library.ready("jazz")


def test_the_end_of_its_input_ends_a_conversion_and_leaves_nothing_behind(
    music: Path, start: Callable[..., Started]
) -> None:
    tone(music / "long.wav", 1800.0)
    library = start()
    library.state("long", "converting")
    ffmpegs = wait_for(lambda: ffmpegs_of(library.process.pid), "its ffmpeg")
    assert unfinished(music)
    assert library.close() == 0
    wait_for(lambda: not any(map(is_running, ffmpegs)), "the end of its ffmpeg")
    assert not unfinished(music)


def test_the_signals_of_the_server_do_not_end_the_library(music: Path, start: Callable[..., Started]) -> None:
    tone(music / "long.wav", 600.0)
    library = start()
    library.state("long", "converting")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(library.process.pid, number)
    library.ready("long")
    assert not unfinished(music)


def test_the_library_steps_back_behind_the_calls_and_so_do_its_ffmpegs(
    music: Path, start: Callable[..., Started]
) -> None:
    tone(music / "long.wav", 1800.0)
    library = start()
    library.state("long", "converting")
    ffmpegs = wait_for(lambda: ffmpegs_of(library.process.pid), "its ffmpeg")
    for number in (library.process.pid, ffmpegs[0]):
        assert os.getpriority(os.PRIO_PROCESS, number) == 19
        assert os.sched_getscheduler(number) == os.SCHED_IDLE


def test_a_cache_that_is_full_says_so(music: Path, start: Callable[..., Started]) -> None:
    tone(music / "a.wav", 700.0)
    tone(music / "b.wav", 600.0)
    library = start(MOH_CACHE_LIMIT="50M")
    library.ready("a")
    assert "the cache is full" in library.state("b", "full")["why"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, as root")
def test_the_last_octets_of_a_disk_that_music_and_cache_share_stay_free(
    music: Path, tmp_path: Path, start: Callable[..., Started]
) -> None:
    tone(tmp_path / "a.wav", 400.0)
    tone(tmp_path / "b.wav")
    disk = f"mount -t tmpfs -o size=112m disk '{music}' && cp -p '{tmp_path}'/*.wav '{music}' && exec \"$@\""
    library = start(("unshare", "--mount", "sh", "-c", disk, "sh"), MOH_CACHE=str(music / ".cache"))
    assert "the disk of the cache is full" in library.state("a", "full")["why"]
    library.ready("b")


def test_a_folder_that_goes_and_comes_back_keeps_its_names(music: Path, start: Callable[..., Started]) -> None:
    tone(music / "a.wav")
    library = start()
    library.ready("a")
    away = music.rename(music.parent / "away")
    gone = library.find(lambda message: message["what"] == "names" and bool(message["notes"]))
    assert gone["notes"] == [f"{music}: No such file or directory"] and len(gone["names"]) == 1
    away.rename(music)
    assert library.find(lambda message: message["what"] == "names")["notes"] == []


def test_files_of_odd_names_are_played(music: Path, start: Callable[..., Started]) -> None:
    (music / "odd").mkdir()
    for number, name in enumerate((b"-.wav", "\U0001f3b7.wav".encode(), b"a\nb'c.wav")):
        made = tone(music.parent / "x.wav", 0.5 + number / 10)
        made.rename(music / "odd" / os.fsdecode(name))
    library = start()
    assert sorted(piece["file"] for piece in library.ready("odd")["pieces"]) == [
        "-.wav", "a\\nb'c.wav", "\U0001f3b7.wav",
    ]  # fmt: skip


@pytest.mark.parametrize(("arguments", "status"), [(["x"], 2), ([], 1)])
def test_a_start_by_hand_says_what_is_wrong(arguments: list[str], status: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "moh.library", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, env={**os.environ, "MOH_MUSIC": "/nowhere"},
    )  # fmt: skip
    assert ran.returncode == status
    assert "docs/names.md" in ran.stderr if status == 2 else "expected a folder" in ran.stderr
