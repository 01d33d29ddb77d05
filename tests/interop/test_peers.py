"""End to end with two foreign phones, baresip and linphone (baresip-core, linphone-cli), which record the music."""

from __future__ import annotations

import array
import signal
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import StartServer
from tests.support.peers import HOST, Terminal, loudness, program
from tests.support.running import Running, free_ports, wait_for
from tests.support.tones import all_ready, strongest, write_tone

TRANSPORTS = pytest.mark.parametrize("transport", ["", ";transport=tcp"], ids=["UDP", "TCP"])
SILENCE = 100.0
"""The root mean square that music exceeds: -50 dBFS, with 32767 as full scale."""
ENOUGH = 20_000
"""Octets of a recording that is long enough: more than a second at 8 kHz."""

BARESIP = """\
module_path {modules}
module stdio.so
module g711.so
module aubridge.so
module sndfile.so
module_app account.so
module_app menu.so
net_interface 127.0.0.1
sip_listen 127.0.0.1:0
rtp_ports {rtp_port}-{last_rtp_port}
snd_path {folder}
audio_source aubridge,a
audio_player aubridge,a
audio_alert aubridge,b
ringback_disabled yes
"""

LINPHONE = """\
[sip]
contact="phone" <sip:phone@127.0.0.1>
bind_address=127.0.0.1
sip_port={port}
sip_tcp_port={port}
sip_tls_port=0
use_ipv6=0
ipv6_migration_done=1
[net]
firewall_policy=none
[rtp]
audio_rtp_port={rtp_port}
[video]
capture=0
display=0
"""


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def modules_of_baresip() -> str:
    folders = [*Path("/usr/lib").glob("baresip/modules"), *Path("/usr/lib").glob("*/baresip/modules")]
    if not folders:
        pytest.skip("BARESIP'S MODULES ARE MISSING, so it has not tested the server: apt-get install baresip-core")
    return str(folders[0])


@contextmanager
def baresip_in_a_call(server: Running, folder: Path, transport: str = "", user: str = "123") -> Iterator[Terminal]:
    """Baresip in a call. Its module aubridge connects its player to its microphone, which module sndfile records."""
    baresip = program("baresip", "baresip-core")
    ports = free_ports(10)  # otherwise baresip may take a port in the server's range, which the server refuses
    config = BARESIP.format(modules=modules_of_baresip(), folder=folder, rtp_port=ports, last_rtp_port=ports + 9)
    (folder / "config").write_text(config)
    (folder / "accounts").write_text(f"<sip:phone@{HOST}>;regint=0\n")
    (folder / "contacts").touch()
    with Terminal([baresip, "-f", str(folder)], folder, {"HOME": str(folder)}) as phone:
        phone.says("baresip is ready")
        phone.type(f"/dial sip:{user}@{HOST}:{server.port}{transport}")
        phone.says("Call established")
        phone.says("incoming rtp for 'audio' established")
        yield phone
        phone.type("/quit")
        assert phone.process.wait(10) == 0


@contextmanager
def linphone_in_a_call(server: Running, folder: Path, transport: str = "", user: str = "123") -> Iterator[Terminal]:
    """Linphone in a call, of which it records what it plays as ``heard.wav``."""
    linphone = program("linphonec", "linphone-cli")
    (folder / ".local" / "share" / "linphone").mkdir(parents=True)
    (folder / "linphonerc").write_text(LINPHONE.format(port=free_ports(1), rtp_port=free_ports(2)))
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder), "TERM": "dumb"}
    with Terminal([linphone, "-c", "linphonerc", "-l", "linphone.log"], folder, home) as phone:
        phone.says("linphonec>")
        phone.type("soundcard use files")
        phone.says("Using wav files")
        phone.type(f"record {folder / 'heard.wav'}")
        phone.type(f"call sip:{user}@{HOST}:{server.port}{transport}")
        yield phone
        phone.type("terminate")
        phone.says("ended (No error)")
        phone.type("quit")
        phone.process.wait(10)


@TRANSPORTS
def test_baresip_receives_music(own_server: Running, tmp_path: Path, transport: str) -> None:
    with baresip_in_a_call(own_server, tmp_path, transport) as phone:
        # the "sendonly" in the answer has stopped the recording: start it again
        phone.type("/auplay aubridge,c")
        phone.says("switch audio player")
        phone.type("/ausrc aubridge,c")
        (recording,) = tmp_path.glob("dump-*-enc.wav")
        wait_for(lambda: size(recording) > ENOUGH, f"a recording of the music:\n{phone.said[-3000:]}")
    assert loudness(recording) > SILENCE
    assert own_server.has_no_ffmpeg()


@TRANSPORTS
def test_linphone_receives_music(own_server: Running, tmp_path: Path, transport: str) -> None:
    recording = tmp_path / "heard.wav"
    with linphone_in_a_call(own_server, tmp_path, transport) as phone:
        phone.says("has been paused by")  # linphone reports "sendonly" so; it plays the music
        wait_for(lambda: size(recording) > 10 * ENOUGH, f"a recording of the music:\n{phone.said[-3000:]}")
    assert loudness(recording) > SILENCE
    assert own_server.has_no_ffmpeg()


# -- music by name -----------------------------------------------------------------------------------------------------

TONES = {"jazz": 500.0, "café": 900.0, "default": 1700.0}


@pytest.fixture
def server_with_names(start_server: StartServer, tmp_path: Path) -> Running:
    folder = tmp_path / "music"
    folder.mkdir()
    for name, tone in TONES.items():
        write_tone(folder / f"{name}.wav", tone)
    server = start_server(MOH_MUSIC=str(folder)).ready()
    return all_ready(server, len(TONES))


def recorded_tone(recording: Path) -> float:
    """The tone in the last second of a recording."""
    with wave.open(str(recording), "rb") as wav:
        samples = array.array("h", wav.readframes(wav.getnframes()))
        rate = wav.getframerate()
    return strongest(samples[-rate:], TONES.values(), rate)


@pytest.mark.parametrize(
    ("user", "transport", "name"),
    [("jazz", "", "jazz"), ("caf%C3%A9", ";transport=tcp", "café"), ("rock", "", "default")],
)
def test_baresip_hears_the_music_whose_name_it_dials(
    server_with_names: Running, tmp_path: Path, user: str, transport: str, name: str
) -> None:
    with baresip_in_a_call(server_with_names, tmp_path, transport, user) as phone:
        phone.type("/auplay aubridge,c")
        phone.says("switch audio player")
        phone.type("/ausrc aubridge,c")
        (recording,) = tmp_path.glob("dump-*-enc.wav")
        wait_for(lambda: size(recording) > 2 * ENOUGH, f"a recording of the music:\n{phone.said[-3000:]}")
    assert recorded_tone(recording) == TONES[name], server_with_names.log


def test_linphone_hears_the_music_whose_name_it_dials(server_with_names: Running, tmp_path: Path) -> None:
    recording = tmp_path / "heard.wav"
    with linphone_in_a_call(server_with_names, tmp_path, user="jazz") as phone:
        phone.says("has been paused by")
        wait_for(lambda: size(recording) > 10 * ENOUGH, f"a recording of the music:\n{phone.said[-3000:]}")
    assert recorded_tone(recording) == TONES["jazz"], server_with_names.log


# -- MOH_DIRECTION=sendrecv ------------------------------------------------------------------------------------------


def wait_for_report(server: Running) -> None:
    """Wait until the server has a report of the phone, which sends the first after some seconds."""

    def listed() -> bool:
        server.process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
        return "ffmpeg; the receiver reported" in server.log

    wait_for(listed, "a report of the phone in the list of calls", 30)


def test_baresip_goes_on_recording_after_an_answer_of_sendrecv(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(MOH_DIRECTION="sendrecv").ready()
    with baresip_in_a_call(server, tmp_path) as phone:
        (recording,) = tmp_path.glob("dump-*-enc.wav")
        wait_for(lambda: size(recording) > 10 * ENOUGH, f"a recording of the music:\n{phone.said[-3000:]}", 20)
        wait_for_report(server)
    assert loudness(recording) > SILENCE
    assert server.has_no_ffmpeg()
    server.says("BYE from the caller; the receiver reported 0 % lost, jitter ")


def test_linphone_is_not_paused_by_an_answer_of_sendrecv(start_server: StartServer, tmp_path: Path) -> None:
    server, recording = start_server(MOH_DIRECTION="sendrecv").ready(), tmp_path / "heard.wav"
    with linphone_in_a_call(server, tmp_path) as phone:
        wait_for(lambda: size(recording) > 10 * ENOUGH, f"a recording of the music:\n{phone.said[-3000:]}")
        wait_for_report(server)
        assert "has been paused by" not in phone.said
    assert loudness(recording) > SILENCE
    assert server.has_no_ffmpeg()
    server.says("BYE from the caller; the receiver reported 0 % lost, jitter ")
