"""End to end with two foreign phones, baresip and linphone (baresip-core, linphone-cli), which record the music."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.peers import HOST, Terminal, loudness, program
from tests.support.running import Running, free_ports, wait_for

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


@TRANSPORTS
def test_baresip_receives_music(own_server: Running, tmp_path: Path, transport: str) -> None:
    """Module aubridge of baresip connects its player to its microphone. Module sndfile records the microphone."""
    baresip = program("baresip", "baresip-core")
    ports = free_ports(10)  # otherwise baresip may take a port in the server's range, which the server refuses
    config = BARESIP.format(modules=modules_of_baresip(), folder=tmp_path, rtp_port=ports, last_rtp_port=ports + 9)
    (tmp_path / "config").write_text(config)
    (tmp_path / "accounts").write_text(f"<sip:phone@{HOST}>;regint=0\n")
    (tmp_path / "contacts").touch()
    with Terminal([baresip, "-f", str(tmp_path)], tmp_path, {"HOME": str(tmp_path)}) as phone:
        phone.says("baresip is ready")
        phone.type(f"/dial sip:123@{HOST}:{own_server.port}{transport}")
        phone.says("Call established")
        phone.says("incoming rtp for 'audio' established")
        # the "sendonly" in the answer has stopped the recording: start it again
        phone.type("/auplay aubridge,c")
        phone.says("switch audio player")
        phone.type("/ausrc aubridge,c")
        (recording,) = tmp_path.glob("dump-*-enc.wav")
        wait_for(lambda: size(recording) > ENOUGH, f"a recording of the music:\n{phone.said[-3000:]}")
        phone.type("/quit")
        assert phone.process.wait(10) == 0
    assert loudness(recording) > SILENCE
    assert own_server.has_no_ffmpeg()


@TRANSPORTS
def test_linphone_receives_music(own_server: Running, tmp_path: Path, transport: str) -> None:
    linphone = program("linphonec", "linphone-cli")
    (tmp_path / ".local" / "share" / "linphone").mkdir(parents=True)
    (tmp_path / "linphonerc").write_text(LINPHONE.format(port=free_ports(1), rtp_port=free_ports(2)))
    recording = tmp_path / "heard.wav"
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "TERM": "dumb"}
    with Terminal([linphone, "-c", "linphonerc", "-l", "linphone.log"], tmp_path, home) as phone:
        phone.says("linphonec>")
        phone.type("soundcard use files")
        phone.says("Using wav files")
        phone.type(f"record {recording}")
        phone.type(f"call sip:123@{HOST}:{own_server.port}{transport}")
        phone.says("has been paused by")  # linphone reports "sendonly" so; it plays the music
        wait_for(lambda: size(recording) > 10 * ENOUGH, f"a recording of the music:\n{phone.said[-3000:]}")
        phone.type("terminate")
        phone.says("ended (No error)")
        phone.type("quit")
        phone.process.wait(10)
    assert loudness(recording) > SILENCE
    assert own_server.has_no_ffmpeg()
