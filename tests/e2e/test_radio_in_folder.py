"""End to end: a name is a radio. Its station, and the process that receives it, come and go while calls play."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import StartServer
from tests.e2e.test_music_folder import children, dial, pitch, rows, tone
from tests.radio.stations import Station, music, plays
from tests.support.phone import Ear
from tests.support.running import Running, wait_for


@pytest.fixture
def station() -> Iterator[Station]:
    """A station that plays a tone of 1000 Hz."""
    with Station(plays(music(10.0, noise=0.0), 10.0)) as found:
        yield found


def radios_of(server: Running) -> int:
    """Return the process of the radios, or 0."""
    found = [each for each in children(server) if b"moh.radio" in Path(f"/proc/{each}/cmdline").read_bytes()]
    return found[0] if found else 0


def test_the_radios_process_is_killed(start_server: StartServer, tmp_path: Path, station: Station) -> None:
    folder = tmp_path / "songs"
    tone(folder / "hold.wav", 400)
    server = start_server(MOH_MUSIC=str(folder), MOH_ALLOW_RADIO="127.0.0.0/8", MOH_FFMPEG_CALLS="1").ready()
    assert not radios_of(server)
    address = folder / "fm.url"
    address.with_name(".fm").write_text(station.url())
    os.utime(address.with_name(".fm"), (1.7e9, 1.7e9))
    address.with_name(".fm").rename(address)
    wait_for(lambda: (rows(server).get("fm", {}).get("radio") or {}).get("connected"), "the radio", 20)
    number = wait_for(lambda: rows(server)["fm"]["number"], "its ring")
    with Ear("127.0.0.2") as ear, Ear("127.0.0.2") as other:
        phones = [dial(server, "fm", ear), dial(server, "fm", other)]
        assert [pitch(each.packets(20)) for each in (ear, other)] == [400, 400], "until the station is heard"
        first = radios_of(server)
        os.kill(first, signal.SIGKILL)
        server.says("the radios' process has ended: signal 9. Calls go on")
        wait_for(lambda: radios_of(server) not in (0, first), "another process", 20)
        assert all(pitch(each.packets(20)) in (400, 1000) for each in (ear, other)), "the ring has the next seconds"
        wait_for(lambda: (rows(server)["fm"]["radio"] or {}).get("connected"), "the radio", 20)
        assert rows(server)["fm"]["number"] == number
        for phone in phones:
            assert phone.bye().status == 200
            phone.socket.close()

    address.unlink()
    wait_for(lambda: not radios_of(server), "the end of the process", 20)
    assert "Traceback" not in server.log
