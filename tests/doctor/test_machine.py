"""What the doctor finds out about ffmpeg, limits and disks, with stand-ins for the kernel's files."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Optional

import pytest

from moh.common.codecs import CODECS
from moh.common.config import Settings
from moh.doctor import machine
from moh.doctor.finding import Finding
from moh.doctor.machine import disk_findings, ffmpeg_findings, free_memory, limit_findings
from moh.doctor.texts import level, words

FIVE_CALLS = Settings.from_environment({"MOH_FFMPEG_CALLS": "5"})


def names(findings: list[Finding]) -> list[str]:
    return [each.id for each in findings]


def what(each: Finding) -> str:
    return words(each, "en").what


# -- ffmpeg ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "lacking", "expected"),
    [
        (None, set(), ["ffmpeg-missing"]),
        ("/usr/bin/ffmpeg", {codec.encoder for codec in CODECS}, ["ffmpeg-broken"]),
        ("/usr/bin/ffmpeg", {"libopus", "g722"}, ["ffmpeg-lacks", "ffmpeg-lacks"]),
        ("/usr/bin/ffmpeg", set(), ["ffmpeg"]),
    ],
)
def test_an_ffmpeg_is_judged_by_its_encoders(
    monkeypatch: pytest.MonkeyPatch, program: str, lacking: set[str], expected: list[str]
) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: program)  # type: ignore[attr-defined]
    monkeypatch.setattr(machine, "encoders", lambda: {codec.encoder for codec in CODECS} - lacking)
    assert names(list(ffmpeg_findings())) == expected


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control group /moh of the second version, without limits; and enough memory."""
    (tmp_path / "moh").mkdir()
    (tmp_path / "of-process").write_text("0::/moh\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "CGROUP_OF_PROCESS", tmp_path / "of-process")
    monkeypatch.setattr(machine, "_limit_of_user", lambda pid: None)
    monkeypatch.setattr(machine, "_limit_of", lambda pid, name, number: None)
    return tmp_path / "moh"


def limit(folder: Path, **values: object) -> None:
    for name, value in values.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{value}\n")


def test_wide_limits_are_well(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 1e9)
    (only,) = limit_findings(FIVE_CALLS)
    assert (only.id, what(only)) == (
        "limits", "The limits of files, processes and memory leave room for 5 calls with an ffmpeg.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("most", "now", "expected"), [("max", 7, ""), (1000, 7, ""), (50, 7, "warning"), (9, 7, "error")]
)
def test_a_control_group_that_allows_few_processes(
    groups: Path, monkeypatch: pytest.MonkeyPatch, most: object, now: int, expected: str
) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 1e9)
    limit(groups, pids_max=most, pids_current=now)
    limit(groups.parent, pids_max="max", pids_current=now)
    (only,) = limit_findings(FIVE_CALLS)
    assert (only.id, level(only)) == (("limit-processes", expected) if expected else ("limits", "ok"))
    if expected:
        assert what(only) == (
            f"Only {int(str(most)) - now} more processes may start (pids.max is {most}); 5 calls with an ffmpeg need "
            "about 50."
        )


def test_a_group_above_counts_too(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 1e9)
    limit(groups, pids_max="max", pids_current=7)
    limit(groups.parent, pids_max=10, pids_current=9)
    assert names(list(limit_findings(FIVE_CALLS))) == ["limit-processes"]


def test_groups_of_the_first_version(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 1e9)
    (groups.parent / "of-process").write_text("4:pids:/moh\n3:memory:/\n")
    (groups.parent / "pids" / "moh").mkdir(parents=True)
    limit(groups.parent / "pids" / "moh", pids_max=8, pids_current=7)
    assert names(list(limit_findings(FIVE_CALLS))) == ["limit-processes"]


def test_few_files(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 1e9)
    monkeypatch.setattr(machine, "_limit_of", lambda pid, name, number: 64)
    (only,) = limit_findings(FIVE_CALLS)
    assert what(only) == "The server may open 64 files; 5 calls with an ffmpeg need about 115."


def test_the_files_that_a_control_group_caches_count_as_free_memory(groups: Path) -> None:
    limit(groups, memory_max=100_000_000, memory_current=90_000_000)
    (groups / "memory.stat").write_text("anon 1\ninactive_file 20000000\n")
    free = free_memory()
    assert free is not None and free <= 30_000_000
    assert names(list(limit_findings(FIVE_CALLS))) == ["limit-memory"]


@pytest.mark.parametrize(("size", "needed"), [(300_000, "120 MB"), (4_600_000, "65 MB"), (None, "120 MB")])
def test_calls_with_the_slim_ffmpeg_need_little_memory(
    groups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: Optional[int], needed: str
) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 50e6)
    if size:
        with (tmp_path / "ffmpeg").open("wb") as file:
            file.truncate(size)
    monkeypatch.setattr(machine.shutil, "which", lambda name: str(tmp_path / "ffmpeg"))  # type: ignore[attr-defined]
    (only,) = limit_findings(FIVE_CALLS)
    assert what(only) == f"50 MB of memory are free; 5 calls with an ffmpeg need about {needed}."


def test_the_limits_of_a_running_process_are_read() -> None:
    assert machine._soft_processes(os.getpid()) == machine._soft_processes(0)
    assert machine._tasks_of(os.geteuid()) >= 1


# -- disks -------------------------------------------------------------------------------------------------------------


def disk(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    facts = SimpleNamespace(f_bavail=free / 4096, f_frsize=4096)
    monkeypatch.setattr(machine.os, "statvfs", lambda path: facts)  # type: ignore[attr-defined]


def test_a_full_disk_is_an_error_unless_the_music_plays_already(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment({"MOH_CACHE": "/cache/moh"})
    disk(monkeypatch, 1_000_000)
    (only,) = disk_findings(settings, 0.0, plays=False)
    assert what(only) == ("The disk of the folder /cache/moh has no room for the converted music: 1.0 MB are free.")
    (only,) = disk_findings(settings, 60.0, plays=True)
    assert (only.id, level(only)) == ("disk-low", "warning")
    disk(monkeypatch, 1e9)
    assert not list(disk_findings(settings, 60.0, plays=True))


def test_the_disk_of_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 40e6)
    settings = Settings.from_environment({"MOH_TRACE": "/trace/sip.pcapng"})
    assert names(list(disk_findings(settings, 1.0, plays=True))) == ["trace-disk"]


def test_the_nearest_folder_that_exists_is_asked(tmp_path: Path) -> None:
    assert machine.free_at(tmp_path / "a" / "b") == machine.free_at(tmp_path)
