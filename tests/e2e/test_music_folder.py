"""End to end: a folder of music. Callers hear what they dial, whatever happens to the folder and to the processes."""

from __future__ import annotations

import math
import os
import signal
import wave
from pathlib import Path
from typing import Any

import pytest

from conftest import StartServer
from moh.net.state_client import NoState, read_state
from tests.support.phone import Ear, Packet, Phone
from tests.support.running import Running, is_running, name_of, processes, wait_for

SOON = 20.0
"""Seconds in which a change of the folder has to reach the callers, on a machine that is busy with other tests."""


def tone(path: Path, hertz: int, seconds: float = 2.0) -> None:
    """Put music there, all at once: a tone of ``hertz``."""
    path.parent.mkdir(exist_ok=True)
    count = int(8000 * seconds)
    samples = (int(8000 * math.sin(2 * math.pi * hertz * n / 8000)) for n in range(count))
    new = path.with_name(f".{path.name}.new")
    with wave.open(str(new), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    os.utime(new, (1.7e9, 1.7e9))  # an old file counts as complete
    new.rename(path)


def pitch(packets: list[Packet]) -> int:
    """Return the pitch of the music, to 20 Hz. The top bit of a PCMU octet is the sign."""
    signs = [octet >> 7 for packet in packets for octet in packet.payload]
    crossings = sum(a != b for a, b in zip(signs, signs[1:])) * 8000 / len(signs)
    return round(crossings / 2 / 20) * 20


def dial(server: Running, name: str, ear: Ear) -> Phone:
    """Call this name, with music for ``ear``."""
    phone = Phone(server.address)
    phone.uri = f"sip:{name}@{server.address[0]}:{server.address[1]}"
    phone.call(ear.address)
    return phone


def heard(server: Running, name: str) -> int:
    """Return the pitch of what a new call to this name hears."""
    with Ear("127.0.0.3") as ear, dial(server, name, ear) as phone:
        found = pitch(ear.packets(20))
        assert phone.bye().status == 200
    return found


def state(server: Running) -> dict[str, Any]:
    try:
        return read_state("127.0.0.1", server.port)
    except NoState:
        return {"names": None, "calls": {"listed": []}}


def rows(server: Running) -> dict[str, dict[str, Any]]:
    """Return the rows of the names."""
    return {row["name"]: row for row in (state(server)["names"] or {"listed": []})["listed"]}


def are_ready(server: Running, *names: str) -> None:
    """Wait until the music of these names is ready."""
    wait_for(
        lambda: all(rows(server).get(name, {}).get("number") is not None for name in names),
        f"{names} to be ready:\n{server.log}",
        SOON,
    )


def children(server: Running) -> list[int]:
    """Return the processes of the server that are no ffmpegs."""
    own = [number for number, state, parent in processes() if parent == server.process.pid and state != "Z"]
    return [number for number in own if name_of(number).startswith("python")]


def library_of(server: Running) -> int:
    (found,) = [each for each in children(server) if b"moh.library" in Path(f"/proc/{each}/cmdline").read_bytes()]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two names."""
    tone(tmp_path / "songs" / "hold.wav", 400)
    tone(tmp_path / "songs" / "jazz.wav", 600)
    return tmp_path / "songs"


def test_callers_hear_what_they_dial(start_server: StartServer, folder: Path) -> None:
    server = start_server(MOH_MUSIC=str(folder)).ready()
    assert f"ready: sip:123@127.0.0.1:{server.port}, music hold.wav (2 s)" in server.log
    are_ready(server, "hold", "jazz")
    assert [heard(server, name) for name in ("jazz", "hold", "other", "j%61zz;x=1")] == [600, 400, 400, 600]
    found = state(server)
    assert (found["music"]["name"], found["music"]["builtin"], found["trouble"]) == ("hold.wav", False, "")
    assert (found["names"]["folder"], found["names"]["default"]) == (str(folder), "hold")
    wait_for(lambda: [each["name"] for each in state(server)["names"]["missing"]] == ["other"], "the missing name")
    with Ear("127.0.0.3") as ear, dial(server, "jazz", ear) as phone:
        (row,) = wait_for(lambda: state(server)["calls"]["listed"], "the call in the list")
        assert (row["name"], row["dialled"]) == ("jazz", "jazz")
        server.process.send_signal(signal.SIGUSR1)
        server.says("; music 'jazz'; PCMU to 127.0.0.3")
        phone.bye()

    library = library_of(server)
    server.terminate()
    assert server.exit_status() == 0
    assert not is_running(library) and "Traceback" not in server.log


def test_the_folder_changes_while_calls_play(start_server: StartServer, folder: Path) -> None:
    server = start_server(MOH_MUSIC=str(folder), MOH_FFMPEG_CALLS="1").ready()
    are_ready(server, "hold", "jazz")
    with Ear("127.0.0.2") as ear, Ear("127.0.0.2") as other:
        phones = [dial(server, "jazz", ear), dial(server, "jazz", other)]
        assert pitch(ear.packets(20)) == 600

        tone(folder / "new.wav", 800)
        tone(folder / "jazz.wav", 1000)
        number = rows(server)["jazz"]["number"]
        wait_for(lambda: rows(server)["jazz"]["number"] not in (number, None), "other music", SOON)
        are_ready(server, "new")
        assert [heard(server, name) for name in ("new", "jazz")] == [800, 1000]

        (folder / "jazz.wav").unlink()
        wait_for(lambda: "jazz" not in rows(server), "the end of the name", SOON)
        assert heard(server, "jazz") == 400
        for each, phone in zip((ear, other), phones):
            assert pitch(each.waiting()[-20:]) == 600, "a call in progress goes on"
            assert phone.bye().status == 200
            phone.socket.close()
    assert "Traceback" not in server.log


def test_the_library_is_killed(start_server: StartServer, folder: Path) -> None:
    server = start_server(MOH_MUSIC=str(folder)).ready()
    are_ready(server, "hold", "jazz")
    numbers = {name: row["number"] for name, row in rows(server).items()}
    first = library_of(server)
    with Ear("127.0.0.2") as ear, dial(server, "jazz", ear) as phone:
        os.kill(first, signal.SIGKILL)
        server.says("the library has ended: signal 9. Calls go on")
        assert pitch(ear.packets(20)) == 600 and heard(server, "jazz") == 600
        wait_for(lambda: [each for each in children(server) if each != first], "another process")
        tone(folder / "new.wav", 800)
        are_ready(server, "new")
        assert {name: row["number"] for name, row in rows(server).items() if name != "new"} == numbers
        assert heard(server, "new") == 800
        assert phone.bye().status == 200


def test_a_server_of_one_file_has_no_further_process(start_server: StartServer, folder: Path) -> None:
    server = start_server(MOH_MUSIC=str(folder / "hold.wav")).ready()
    assert heard(server, "jazz") == 400
    assert children(server) == [] and state(server)["names"] is None
    assert "music by name" not in server.log
