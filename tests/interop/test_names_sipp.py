"""End to end: SIPp makes 140 calls to seven names, by both engines at once, and each receiver hears its music."""

from __future__ import annotations

import threading
from pathlib import Path

from conftest import StartServer
from tests.support.crowd import Crowd
from tests.support.peers import SCENARIOS, run_sipp
from tests.support.tones import all_ready, tone_of, write_tone

NAMES = {
    "jazz": 400.0,
    "rock": 550.0,
    "caf%C3%A9": 730.0,
    "a%20b": 1010.0,
    "%6Funge": 1370.0,
    "x:pw": 1850.0,
    "": 2430.0,
}
"""What is dialled, and the tone that is heard. Without a user part that is the default."""
FILES = {"jazz": 400.0, "rock": 550.0, "café": 730.0, "a b": 1010.0, "ounge": 1370.0, "x": 1850.0, "default": 2430.0}
CALLS = 20 * len(NAMES)


def test_a_crowd_hears_the_music_of_the_names_that_it_dials(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    for name, tone in FILES.items():
        write_tone(folder / f"{name}.wav", tone)
    server = start_server(MOH_MUSIC=str(folder), MOH_FFMPEG_CALLS="7", MOH_LOG="info").ready()
    all_ready(server, len(FILES))
    named = tmp_path / "named.xml"
    named.write_text((SCENARIOS / "hold.xml").read_text().replace("sip:123@", "sip:[field2]"))
    users = [f"{user}@" if user else "" for user in NAMES]
    over = threading.Event()
    with Crowd(CALLS) as crowd:

        def listen() -> None:
            while not over.wait(0.1):
                crowd.read()

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            counts = run_sipp(
                str(named.with_suffix("")), server, crowd.addresses, tmp_path, CALLS, rate=70, users=users
            )
        finally:
            over.set()
            thread.join()
        assert (counts["SuccessfulCall"], counts["FailedCall"]) == (CALLS, 0)
        for number, received in enumerate(crowd.received):
            user, tone = [*NAMES.items()][number % len(NAMES)]
            # where a busy machine leaves packets out, no tone is the strongest of that part
            tones = {tone_of(received[at : at + 10], FILES.values()) for at in range(5, len(received) - 10, 5)}
            assert tones - {0.0} == {tone}, f"{user!r}, {len(received)} packets"
    assert "Traceback" not in server.log
    assert len({packet.source[1] for received in crowd.received for packet in received[:1]}) > 1, "both engines"
