"""End to end: what the page of a server with a music folder shows of its names."""

from __future__ import annotations

import io
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from moh.common.config import Settings
from moh.doctor.command import values_of
from moh.doctor.examine import examine
from moh.net.state_client import read_state
from tests.support.browser import Got, get
from tests.support.running import Running, free_ports, wait_for
from tests.support.tones import write_tone

TONES = {"jazz": 400.0, "夏の歌": 900.0, "default": 1400.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Running]:
    """A server with three pieces, a file that is no music, and a radio that nothing answers for."""
    folder, port = tmp_path_factory.mktemp("music"), free_ports(1)
    for name, tone in TONES.items():
        write_tone(folder / f"{name}.wav", tone)
    (folder / "broken.mp3").write_text("no music")
    (folder / "news.url").write_text("http://127.0.0.1:1/live\n")
    page = f"127.0.0.1:{port}"
    with Running(tmp_path_factory.mktemp("page"), music_cache, MOH_MUSIC=str(folder), MOH_HTTP=page) as running:
        running.ready()
        wait_for(lambda: names(running)["by_state"] == {"ready": 3, "refused": 1, "away": 1}, "all names", 60)
        yield running
        assert "Traceback" not in running.log, running.log


def names(server: Running) -> dict[str, Any]:
    found: dict[str, Any] = read_state("127.0.0.1", server.port)["names"]
    return found


def port_of(server: Running) -> int:
    return int(server.settings["MOH_HTTP"].rpartition(":")[2])


def made(server: Running, path: str) -> Got:
    """The player at ``path``, when it is made."""
    wait_for(lambda: get(port_of(server), path).status != 503, f"{path}", 60)
    return get(port_of(server), path)


def crossings(octets: bytes) -> float:
    """How often a second the sound of a WAV file rises through 0: the frequency of a tone."""
    with wave.open(io.BytesIO(octets)) as file:
        rate, samples = file.getframerate(), array("h", file.readframes(file.getnframes()))
    rises: int = sum(one < 0 <= other for one, other in zip(samples, samples[1:]))
    return float(rises * rate / len(samples))


@pytest.mark.parametrize("name", TONES)
@pytest.mark.parametrize("codec", ["pcmu", "g722"])
def test_the_player_of_a_name_plays_the_music_of_that_name(server: Running, name: str, codec: str) -> None:
    answer = made(server, f"/music/{quote(name)}/{codec}.wav")
    assert (answer.status, answer.headers["content-type"]) == (200, "audio/wav")
    assert crossings(answer.body) == pytest.approx(TONES[name], rel=0.03)


def test_the_music_of_the_page_is_the_default(server: Running) -> None:
    assert crossings(made(server, "/music/pcma.wav").body) == pytest.approx(TONES["default"], rel=0.03)


@pytest.mark.parametrize("name", ["broken", "news", "none", "%2e%2e", "..%2f..", "%00", "jazz%2f", "%ff"])
def test_other_names_have_no_player(server: Running, name: str) -> None:
    assert get(port_of(server), f"/music/{name}/pcmu.wav").status == 404


def test_the_metrics_and_the_state_of_the_page_have_the_names(server: Running) -> None:
    text = get(port_of(server), "/metrics").text
    for line in (
        'moh_names{state="ready"} 3.0', 'moh_names{state="refused"} 1.0', 'moh_name_calls{name="夏の歌"} 0.0',
        'moh_radio_connected{name="news"} 0.0',
    ):  # fmt: skip
        assert f"\n{line}\n" in text, text
    state = get(port_of(server), "/state.json")
    assert {row["name"] for row in state.json["names"]["listed"]} == {*TONES, "broken", "news"}
    assert "8000.wav" not in state.text, "no reader needs the paths"


def test_the_doctor_names_what_does_not_play(server: Running) -> None:
    environment = {**server.settings, "MOH_BIND": "127.0.0.1", "MOH_SIP_PORT": str(server.port)}
    found = examine(Settings.from_environment(environment), values_of(environment), call=False)
    named = {each.id: each.values for each in found}
    assert named["names"]["count"] == "5" and named["names"]["ready"] == "3"
    assert named["name-refused"]["name"] == "broken"
    assert named["radio-inside"]["name"] == "news"
