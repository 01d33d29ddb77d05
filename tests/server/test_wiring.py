"""The lines of the start: what to type into the phone, and which codecs and ports this machine cannot give."""

from __future__ import annotations

import logging
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest

from moh.common.codecs import CODECS, PCMU
from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.common.tunes import Tunes
from moh.mastering.prepare import Music
from moh.net import routes
from moh.server import wiring
from moh.server.wiring import available_codecs, open_shared_stream, ready_lines
from tests.support.running import free_ports

MUSIC = Music({}, 192.0, Path("/music/hold.mp3"))
ALL = {codec.encoder for codec in CODECS}
G729 = replace(PCMU, name="G729", static_type=18, encoder="g729")


def lines(
    monkeypatch: pytest.MonkeyPatch, address: str, environment: dict[str, str], bridge: bool = False
) -> list[str]:
    """Return the lines of a machine with ``address``, which is one of a container's own network if ``bridge``."""
    monkeypatch.setattr(routes, "local_address_towards", lambda host: address)
    monkeypatch.setattr(wiring, "is_behind_a_bridge", lambda host: bridge and host == address)
    return ready_lines(Settings.from_environment(environment), MUSIC)


@pytest.mark.parametrize(
    ("environment", "typed"),
    [
        ({}, "sip:123@192.168.1.100:5060"),
        ({"MOH_SIP_PORT": "5070"}, "sip:123@192.168.1.100:5070"),
        ({"MOH_BIND": "192.168.1.101"}, "sip:123@192.168.1.101:5060"),
        ({"MOH_BIND": "2001:db8::1"}, "sip:123@[2001:db8::1]:5060"),
        ({"MOH_ADVERTISED_ADDRESS": "198.51.100.1"}, "sip:123@198.51.100.1:5060"),
    ],
)
def test_the_line_says_what_to_type(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], typed: str) -> None:
    expected = f"ready: {typed}, music hold.mp3 (3 min 12 s), RTP ports 10000-10100"
    assert lines(monkeypatch, "192.168.1.100", environment) == [expected]


@pytest.mark.parametrize("address", ["172.17.0.2", "192.168.96.2", "10.88.0.5"])
@pytest.mark.parametrize("bind", ["", "own"])
def test_in_a_container_it_does_not_name_the_container_and_a_second_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, address: str, bind: str
) -> None:
    found = lines(monkeypatch, address, {"MOH_BIND": address if bind else ""}, bridge=True)
    assert found == [
        "ready: sip:123@ADDRESS-OF-THIS-MACHINE:5060, music hold.mp3 (3 min 12 s), RTP ports 10000-10100",
        "ADDRESS-OF-THIS-MACHINE is the first address that the command 'hostname -I' prints on the machine that runs "
        "this container; 5060 is right unless another port was published for it",
    ]
    advertised = lines(monkeypatch, address, {"MOH_ADVERTISED_ADDRESS": "192.168.1.100"}, bridge=True)
    assert [line.partition(",")[0] for line in advertised] == ["ready: sip:123@192.168.1.100:5060"]


@pytest.mark.parametrize(
    ("addresses", "typed"),
    [
        ([("lo", "127.0.0.1"), ("eth0", "192.168.1.100")], "192.168.1.100"),
        ([("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "fe80::1"), ("eth0", "fd00::1")], "[fd00::1]"),
        ([("lo", "127.0.0.1")], "127.0.0.1"),
    ],
)
def test_a_network_of_phones_without_a_way_out_has_an_address_too(
    monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[str, str]], typed: str
) -> None:
    monkeypatch.setattr(routes, "local_addresses", lambda: addresses)
    assert lines(monkeypatch, "", {})[0].startswith(f"ready: sip:123@{typed}:5060,")


# -- codecs and ports that this machine cannot give ----------------------------------------------------------------


def test_a_codec_without_an_encoder_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wiring, "encoders", lambda _: ALL - {"libopus"})
    monkeypatch.setattr(wiring, "CODECS", (*CODECS, G729))
    assert [codec.name for codec in available_codecs()] == ["PCMU", "PCMA", "G722"]
    assert caplog.record_tuples == [
        ("moh", logging.WARNING, "no call gets opus: the installed ffmpeg has no encoder 'libopus'"),
        ("moh", logging.WARNING, "no call gets G729: the installed ffmpeg has no encoder 'g729'"),
    ]


def test_with_all_encoders_nothing_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(wiring, "encoders", lambda _: ALL)
    assert available_codecs() == CODECS
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("program", "encoders", "why"),
    [
        (None, set(), "the program ffmpeg is missing"),
        ("/usr/bin/ffmpeg", set(), "the program ffmpeg does not run: ffmpeg -encoders lists nothing"),
        ("/usr/bin/ffmpeg", {"flac"}, "this ffmpeg has no codec for phones"),
    ],
)
def test_without_any_encoder_the_server_cannot_start(
    program: Optional[str], encoders: set[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "encoders", lambda _: encoders)
    monkeypatch.setattr(shutil, "which", lambda name: program)
    with pytest.raises(SettingsError) as caught:
        available_codecs()
    assert str(caught.value) == f"{why}. Install Debian's ffmpeg: apt-get install ffmpeg"


def test_the_shared_stream_names_a_port_that_another_program_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "PORT_PATIENCE", 0.0)
    first = free_ports(4)
    settings = Settings(bind="127.0.0.1", rtp_ports=(first, first + 3))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_program:
        other_program.bind(("127.0.0.1", first + 2))
        with pytest.raises(SettingsError) as caught:
            open_shared_stream(settings, Tunes())
    why = f"another program uses UDP port {first + 2}; set it to other ports, or stop that program"
    assert str(caught.value) == f"Cannot use MOH_RTP_PORTS {first}-{first + 3}: {why}"
