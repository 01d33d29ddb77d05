"""End to end: callers dial names, and each hears the music of its name, told apart by its tone."""

from __future__ import annotations

import array
import subprocess
import sys
import wave
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from conftest import StartServer
from moh.net.state_client import read_state
from tests.e2e.test_real_devices import Device
from tests.support.peers import position, write_rising_tune
from tests.support.phone import Ear, Message, Phone, has_no_gap, offer
from tests.support.running import ROOT, Running, wait_for
from tests.support.tones import all_ready, names_of, strongest, tone_of, write_tone

DEFAULT = 3000.0
TONES = {
    "jazz": (400.0, "jazz.mp3"), "Rock": (550.0, "Rock.wav"), "café": (730.0, "café.flac"),
    "hold music": (1010.0, "hold music.ogg"), "夏の歌": (1370.0, "夏の歌.wav"), "shop": (1850.0, "shop/one.wav"),
    "a;b:c": (2430.0, "a;b:c.wav"), "default": (DEFAULT, "default.wav"),
}  # fmt: skip
"""The names of the folder, with the tone and the file of each."""
SEVEN = [name for name in TONES if name != "default"]
ALL = [tone for tone, _ in TONES.values()]
ENGINES = pytest.mark.parametrize("engine", ["ffmpeg", "shared"])
Servers = Mapping[str, Running]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Servers]:
    """A server where each of seven callers has an ffmpeg, and one where all share the stream."""
    folder = tmp_path_factory.mktemp("music")
    (folder / "shop").mkdir()
    for tone, file in TONES.values():
        write_tone(folder / file, tone)
    with ExitStack() as stack:
        found: dict[str, Running] = {}
        for engine, calls in (("ffmpeg", "7"), ("shared", "0")):
            logs = tmp_path_factory.mktemp(engine)
            server = Running(logs, music_cache, MOH_MUSIC=str(folder), MOH_FFMPEG_CALLS=calls)
            found[engine] = all_ready(stack.enter_context(server).ready(), len(TONES))
        yield found
        for server in found.values():
            assert "Traceback" not in server.log, server.log


def dial(device: Device, user: str, codec: int = 0) -> Message:
    """Call ``user``, which is what stands before the ``@``. Return the answer."""
    host, port = device.phone.server
    device.phone.uri = f"sip:{user}@{host}:{port}"
    answer = device.ask("INVITE", offer(device.ear.address, formats=f"{codec}"))
    assert answer.status == 200, answer
    return answer


@ENGINES
@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("codec", [0, 9], ids=["PCMU", "G722"])
def test_seven_callers_to_seven_names_hear_seven_pieces(
    servers: Servers, engine: str, transport: str, codec: int
) -> None:
    with ExitStack() as stack:
        devices = {name: Device(servers[engine], transport, stack) for name in SEVEN}
        for name, device in devices.items():
            dial(device, quote(name), codec)
            assert device.ear.packets(10), "a call that came sooner would share the stream, as in a burst"
        for name, device in devices.items():
            packets = device.ear.packets(40)
            assert {packet.payload_type for packet in packets} == {codec} and has_no_gap(packets)
            assert tone_of(packets, ALL) == TONES[name][0], f"{name} heard another music"
        listed = read_state("127.0.0.1", servers[engine].port)["calls"]["listed"]
        assert {(row["name"], row["engine"]) for row in listed} == {(name, engine) for name in SEVEN}
        for device in devices.values():
            assert device.ask("BYE").status == 200
            assert device.ear.falls_silent()
    assert servers[engine].has_no_ffmpeg()


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("%6Aazz", "jazz"), ("jazz;x=1", "jazz"), ("jazz:pw", "jazz"), ("caf%C3%A9", "café"), ("cafe%CC%81", "café"),
        ("café", "café"), ("夏の歌", "夏の歌"), ("hold%20music", "hold music"), ("a%3Bb%3ac", "a;b:c"),
        ("123", "default"), ("default", "default"), ("Jazz", "default"), ("rock", "default"), ("a;b:c", "default"),
        ("..%2Fjazz", "default"), ("%2e%2e", "default"), ("jazz%00", "default"), ("%FF%FE", "default"),
        ("jazz.mp3", "default"), ("shop%2Fone", "default"), ("x" * 1000, "default"), ("%F0%9F%8E%B7", "default"),
    ],
)  # fmt: skip
def test_the_user_part_chooses_the_music(servers: Servers, user: str, name: str) -> None:
    with ExitStack() as stack:
        device = Device(servers["shared"], "UDP", stack)
        dial(device, user)
        assert tone_of(device.ear.packets(15), ALL) == TONES[name][0]
        assert device.ask("BYE").status == 200


@ENGINES
def test_a_uri_without_a_user_part_plays_the_default(servers: Servers, engine: str) -> None:
    with Phone(servers[engine].address) as phone, Ear("127.0.0.2") as ear:
        phone.uri = f"sip:127.0.0.1:{servers[engine].port}"
        phone.call(ear.address)
        assert tone_of(ear.packets(15), ALL) == DEFAULT
        assert phone.bye().status == 200


@pytest.mark.parametrize("target", ["sip:夏の歌@127.0.0.1:{}", "sip:hold%20music@127.0.0.1:{};transport=tcp"])
def test_the_test_client_hears_the_name_that_it_dials(servers: Servers, tmp_path: Path, target: str) -> None:
    saved = tmp_path / "heard.wav"
    command = [sys.executable, str(ROOT / "test_sip_client.py"), target.format(servers["shared"].port)]
    command += ["--seconds", "1", "--codec", "PCMU", "--save", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    with wave.open(str(saved), "rb") as heard:
        samples = array.array("h", heard.readframes(4000))
    assert strongest(samples, ALL) == TONES["夏の歌" if "夏" in target else "hold music"][0], done.stdout


# -- a folder that changes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", ["1", "0"], ids=["ffmpeg", "shared"])
def test_a_reinvite_to_another_name_goes_on_with_the_same_music(
    start_server: StartServer, tmp_path: Path, calls: str
) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    write_rising_tune(folder / "rise.wav")
    write_tone(folder / "default.wav", DEFAULT)
    server = all_ready(start_server(MOH_MUSIC=str(folder), MOH_FFMPEG_CALLS=calls).ready(), 2)
    with Phone(server.address) as phone, Ear("127.0.0.2") as ear, Ear("127.0.0.3") as other:
        phone.uri = f"sip:rise@127.0.0.1:{server.port}"
        phone.call(ear.address)
        before = position(ear.packets(60)[-25:])
        phone.uri = f"sip:default@127.0.0.1:{server.port}"
        phone.call(other.address)
        after = position(other.packets(25))
        assert 0.2 < after - before < 3.0, "the next second or two of the rising tune"
        assert phone.bye().status == 200
        assert other.falls_silent()
    (ended,) = read_state("127.0.0.1", server.port)["ended"]
    assert (ended["name"], ended["dialled"]) == ("rise", "rise")


def test_the_folder_changes_while_callers_listen(start_server: StartServer, tmp_path: Path) -> None:
    """A call keeps its music when its file is gone. A name is there soon after its file."""
    folder = tmp_path / "music"
    folder.mkdir()
    write_tone(folder / "default.wav", DEFAULT)
    write_tone(folder / "jazz.wav", 400.0)
    (folder / "broken.mp3").write_text("no music")
    server = all_ready(start_server(MOH_MUSIC=str(folder), MOH_FFMPEG_CALLS="1").ready(), 2)
    wait_for(lambda: names_of(server).get("broken") == "refused", "the refusal of a file", 30)
    with ExitStack() as stack:
        own, shared = Device(server, "UDP", stack), Device(server, "UDP", stack)
        for device in (own, shared):
            dial(device, "jazz")
            assert tone_of(device.ear.packets(15), ALL) == 400.0

        (folder / "jazz.wav").unlink()
        write_tone(tmp_path / "new.wav", 1010.0)
        (tmp_path / "new.wav").rename(folder / "soul.wav")
        wait_for(lambda: names_of(server).get("soul") == "ready" and "jazz" not in names_of(server), server.log, 30)
        for user, tone in (("jazz", DEFAULT), ("soul", 1010.0), ("broken", DEFAULT), ("Soul", DEFAULT)):
            late = Device(server, "UDP", stack)
            dial(late, user)
            assert tone_of(late.ear.packets(15), ALL) == tone, user
            assert late.ask("BYE").status == 200
        for device in (own, shared):
            device.ear.waiting()
            assert tone_of(device.ear.packets(15), ALL) == 400.0, "until its end"
            assert device.ask("BYE").status == 200
    for line in (
        "dialled 'jazz': no music has that name, so the default plays\n",
        "dialled 'Soul': no music has that name, so the default plays; 'soul' is similar\n",
        "; the music 'broken' is not ready, so the default plays\n",
        ", music 'soul'\n",
    ):
        assert server.log.count(line) == 1, f"{line}\n{server.log}"
    assert server.log.count(", music 'jazz'\n") == 2
    missing = read_state("127.0.0.1", server.port)["names"]["missing"]
    assert [(row["name"], row["count"]) for row in missing] == [("Soul", 1), ("jazz", 1)]
