"""The leash, by which an ffmpeg dies with its parent; encoders and the slim ffmpeg on the PATH. By stand-ins."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from moh.ffmpeg.launch import ask_for_encoders, encoders, leash, player


def put_on_path(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the shell script ``script`` the only program on the PATH, with the name ``name``."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


# -- the leash -----------------------------------------------------------------------------------------------------


def test_a_setpriv_without_pdeathsig_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setpriv of BusyBox has no --pdeathsig. With it no ffmpeg would start, and every call would be silent."""
    script = "echo \"setpriv: unrecognized option '--pdeathsig'\" >&2\nexit 1"
    put_on_path(tmp_path, "setpriv", script, monkeypatch)
    assert leash(os.getpid()) == []


def test_without_setpriv_there_is_no_leash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert leash(os.getpid()) == []


def test_a_command_whose_parent_has_died_does_not_run() -> None:
    """The server is killed after the fork and before the leash works. The child must not play for ever.

    By then the child has another parent.
    """
    prefix = leash(os.getpid())
    if not prefix:
        pytest.skip("no setpriv here")
    assert subprocess.run([*prefix, "echo", "it plays"], capture_output=True).stdout == b"it plays\n"
    assert subprocess.run([*leash(os.getpid() + 1), "echo", "it plays"], capture_output=True).stdout == b""


# -- the encoders of the ffmpeg on the PATH ------------------------------------------------------------------------


def test_encoders_are_read_from_the_list_that_ffmpeg_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "Encoders:\n A..... = Audio\n ------\n A....D libopus              libopus Opus (codec opus)"
    put_on_path(tmp_path, "ffmpeg", f"echo '{listed}'", monkeypatch)
    assert "libopus" in encoders()
    assert "adpcm_g722" not in encoders()


def test_encoders_may_be_asked_for_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is that of the ffmpeg which was asked, and a second reading asks anew."""
    former, present = tmp_path / "former", tmp_path / "present"
    for folder, encoder in ((former, "libopus"), (present, "pcm_mulaw")):
        folder.mkdir()
        put_on_path(folder, "ffmpeg", f"echo ' A....D {encoder}'", monkeypatch)
    monkeypatch.setenv("PATH", str(former))
    asked = ask_for_encoders()
    monkeypatch.setenv("PATH", str(present))
    assert encoders(asked) == {"libopus"}
    assert encoders() == {"pcm_mulaw"}


def test_without_ffmpeg_there_are_no_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert ask_for_encoders() is None
    assert encoders() == set()


# -- the ffmpeg that plays -----------------------------------------------------------------------------------------


def test_calls_are_played_by_the_slim_ffmpeg_as_soon_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert player() == "ffmpeg"
    put_on_path(tmp_path, "moh-ffmpeg", "exit", monkeypatch)
    assert player() == str(tmp_path / "moh-ffmpeg")
