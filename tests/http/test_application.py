"""The routes of the page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Optional

import pytest

from moh.common.codecs import Codec
from moh.http.application import Application
from moh.http.players import Players
from moh.http.sound import CannotMake, Sound
from moh.http.state_reader import State, StateReader
from moh.http.static_files import StaticFiles
from moh.net.state_client import NoState
from tests.http.names_state import names_state, row
from tests.http.requests import ask
from tests.http.sample_state import sample_state
from tests.support.browser import Got

WAV = b"RIFF" + bytes(range(96))


class Made(Sound):
    """A sound without a file."""

    def open(self) -> BinaryIO:
        return io.BytesIO(WAV)


class Page:
    """The application with a state that a test may change, and with sounds that need no ffmpeg."""

    def __init__(self, folder: Path) -> None:
        self.state: Optional[dict[str, Any]] = sample_state()
        self.now = 100.0
        self.why = ""
        self.made: list[tuple[Path, str]] = []
        (folder / "page.html").write_text("<p>music</p>")
        (folder / "page.js").write_text("1")
        reader = StateReader(self.read, lambda: self.now)
        self.application = Application(reader, Players(self.make, patience=5.0), StaticFiles(folder))

    def read(self) -> State:
        if self.state is None:
            raise NoState("no server runs here")
        return self.state

    def make(self, path: Path, codec: Codec) -> Sound:
        self.made.append((path, codec.name))
        if self.why:
            raise CannotMake(self.why)
        return Made(io.BytesIO(), len(WAV), f'"{codec.name}"', {"codec": codec.name, "peaks": [0.5]})

    def ask(self, path: str, method: str = "GET", **fields: str) -> Got:
        return ask(self.application, path, method, **fields)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    yield Page(tmp_path)


def test_the_page_and_its_files(page: Page) -> None:
    assert page.ask("/")[0::2] == (200, b"<p>music</p>")
    script = page.ask("/static/page.js")
    assert (script.status, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert page.ask("/static/page.js", HTTP_IF_NONE_MATCH=script.headers["etag"]).status == 304


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/", "/static/../page.html", "/music/", "/state", "", "//", "/%2e"]
)
def test_other_paths_are_not_there(page: Page, path: str) -> None:
    assert page.ask(path).status == 404


ALL = ["/", "/nothing", "/state.json", "/metrics", "/healthz", "/readyz", "/music/pcmu.wav", "/music/waveform.json"]


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize("answers", [True, False])
def test_every_answer_has_the_header_fields_that_protect_it(page: Page, path: str, answers: bool) -> None:
    if not answers:
        page.state = None
    headers = page.ask(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert page.ask(path, HTTP_HOST="evil.example").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ALL)
def test_head_has_the_header_fields_of_get_and_no_body(page: Page, path: str) -> None:
    got, head = page.ask(path), page.ask(path, "HEAD")
    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")


@pytest.mark.parametrize("path", ALL)
def test_a_foreign_host_gets_nothing(page: Page, path: str) -> None:
    assert page.ask(path, HTTP_HOST="evil.example").status == 421


# -- the state -----------------------------------------------------------------------------------------------------


def test_the_state_has_its_age_and_no_paths_of_files(page: Page) -> None:
    first = page.ask("/state.json")
    page.now += 0.25
    found = page.ask("/state.json").json
    assert (first.json["age"], found.pop("age")) == (0.0, 0.25)
    expected = sample_state()
    del expected["music"]["files"]
    assert found == expected
    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "no-store"


def test_a_new_state_is_shown_a_second_later(page: Page) -> None:
    page.ask("/state.json")
    page.state = sample_state(trouble="no music")
    assert page.ask("/state.json").json["trouble"] == ""
    page.now += 1.0
    assert page.ask("/state.json").json["trouble"] == "no music"


def test_a_server_that_does_not_answer_is_named(page: Page) -> None:
    page.state = None
    answer = page.ask("/state.json")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json == {"error": "the server does not answer", "why": "no server runs here"}
    for path in ("/metrics", "/healthz", "/readyz", "/music/pcmu.wav"):
        answer = page.ask(path)
        assert (answer.status, answer.text) == (503, "the server does not answer: no server runs here\n"), path


def test_the_last_state_of_a_server_that_has_just_gone_is_shown(page: Page) -> None:
    page.ask("/state.json")
    page.state = None
    page.now += 5.0
    assert page.ask("/state.json").json["age"] == 5.0
    assert page.ask("/healthz").status == 503


def test_the_metrics_are_those_of_the_state(page: Page) -> None:
    answer = page.ask("/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=")
    assert "\nmoh_calls 5.0\n" in answer.text


def test_health(page: Page) -> None:
    assert (page.ask("/healthz").text, page.ask("/readyz").text) == ("ok\n", "ready\n")


def test_an_unexpected_error_is_logged_and_costs_one_answer(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    page.state = sample_state(music=7)
    answer = page.ask("/music/pcmu.wav")
    assert (answer.status, answer.text) == (500, "an unexpected error; the log of the server has it\n")
    assert "unexpected error in the page: '/music/pcmu.wav'" in caplog.text, "no path begins a line of its own"
    assert page.ask("/").status == 200


# -- the music -----------------------------------------------------------------------------------------------------


def test_a_player_for_each_codec(page: Page) -> None:
    for name in ("pcmu", "pcma", "g722", "opus"):
        answer = page.ask(f"/music/{name}.wav")
        assert (answer.status, answer.body) == (200, WAV)
        assert answer.headers["content-type"] == "audio/wav" and answer.headers["accept-ranges"] == "bytes"
    page.ask("/music/pcmu.wav")
    folder = Path("/tmp/moh/sample")
    assert page.made == [
        (folder / "8000.wav", "PCMU"), (folder / "8000.wav", "PCMA"), (folder / "16000.wav", "G722"),
        (folder / "16000.wav", "opus"),
    ]  # fmt: skip


def test_a_browser_gets_the_part_that_it_asks_for(page: Page) -> None:
    part = page.ask("/music/pcmu.wav", HTTP_RANGE="bytes=10-19")
    assert (part.status, part.body) == (206, WAV[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(WAV)}"
    beyond = page.ask("/music/pcmu.wav", HTTP_RANGE="bytes=1000-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(WAV)}")
    head = page.ask("/music/pcmu.wav", "HEAD", HTTP_RANGE="bytes=10-19")
    assert (head.status, head.headers["content-length"]) == (200, str(len(WAV))), "Range is for GET"
    other = page.ask("/music/pcmu.wav", HTTP_RANGE="bytes=10-19", HTTP_IF_RANGE='"another"')
    assert (other.status, other.body) == (200, WAV)
    known = page.ask("/music/pcmu.wav", HTTP_IF_NONE_MATCH=part.headers["etag"])
    assert (known.status, known.body) == (304, b"")


@pytest.mark.parametrize("name", ["mp3", "PCMU", "jazz/mp3", ""])
def test_an_unknown_player_is_named_with_the_known_ones(page: Page, name: str) -> None:
    answer = page.ask(f"/music/{name}.wav")
    assert answer.status == 404 and "/music/pcmu.wav, /music/pcma.wav, /music/g722.wav" in answer.text


def test_a_codec_that_the_ffmpeg_of_the_server_lacks_has_no_player(page: Page) -> None:
    page.state = sample_state(codecs=["PCMU"])
    answer = page.ask("/music/opus.wav")
    text = "no call gets opus: the ffmpeg of the server has no encoder 'libopus'\n"
    assert (answer.status, answer.text) == (404, text)


# -- the names of a music folder -----------------------------------------------------------------------------------


def test_a_name_has_a_player_for_each_codec(page: Page) -> None:
    page.state = sample_state(names=names_state())
    for path in ("/music/jazz/pcmu.wav", "/music/jazz/opus.wav"):
        assert page.ask(path)[0::2] == (200, WAV)
    assert page.made == [(Path("/tmp/moh/7/8000.wav"), "PCMU"), (Path("/tmp/moh/7/16000.wav"), "opus")]


@pytest.mark.parametrize("written", ["受付 1", "か\u3099", "é"])
def test_a_name_is_found_by_its_octets_in_whatever_form_of_unicode(page: Page, written: str) -> None:
    """A web server hands on the octets of a path, each as one character (PEP 3333)."""
    page.state = sample_state(names=names_state(listed=[row("受付 1"), row("が"), row("\u00e9")]))
    assert page.ask(f"/music/{written}/pcmu.wav".encode().decode("latin-1")).status == 200


@pytest.mark.parametrize(
    "name", ["..", "../..", "/etc/passwd", "", ".", "jaz", "Jazz", "jazz/", "/jazz", "\x00", "\xff\xfe", "news", "fax",
             "/tmp/moh/7/8000", "default/../jazz", "a" * 5000]
)  # fmt: skip
def test_what_is_not_listed_or_has_no_music_has_no_player(page: Page, name: str) -> None:
    page.state = sample_state(names=names_state())
    answer = page.ask(f"/music/{name}/pcmu.wav")
    text = "there is no such name; the page lists those that have a player\n"
    assert (answer.status, answer.text, page.made) == (404, text, [])


def test_a_name_that_has_just_become_ready_has_no_player_yet(page: Page) -> None:
    page.state = sample_state(names=names_state(listed=[row("jazz", number=None)]))
    assert page.ask("/music/jazz/pcmu.wav")[0::2] == (503, b"there is no music yet\n")


def test_without_a_folder_there_is_no_name(page: Page) -> None:
    for names in (None, {**names_state(), "listed": []}):
        page.state = sample_state(names=names)
        page.now += 1
        assert page.ask("/music/jazz/pcmu.wav").status == 404


def test_the_state_shows_the_names_without_paths_of_files(page: Page) -> None:
    page.state = sample_state(names=names_state())
    found = page.ask("/state.json")
    assert found.json["names"]["listed"][0]["name"] == "jazz"
    assert "/tmp/moh" not in found.text


# -- without music -------------------------------------------------------------------------------------------------


def test_without_music_there_is_no_player_yet(page: Page) -> None:
    page.state = sample_state(music=None)
    assert page.ask("/music/pcmu.wav")[0::2] == (503, b"there is no music yet\n")
    answer = page.ask("/music/waveform.json")
    assert (answer.status, answer.json) == (503, {"error": "there is no music yet"})


def test_a_default_that_is_a_radio_has_no_player(page: Page) -> None:
    page.state = sample_state()
    page.state["music"]["live"] = True
    text = "the default is a radio, which has no player; call it\n"
    assert (page.ask("/music/pcmu.wav").status, page.ask("/music/pcmu.wav").text) == (404, text)
    assert page.ask("/music/waveform.json").status == 404


def test_a_player_that_cannot_be_made_says_why(page: Page) -> None:
    page.why = "No space left on device"
    answer = page.ask("/music/g722.wav")
    assert (answer.status, answer.text) == (503, "there is no player for G722: No space left on device\n")


def test_the_waveform_is_that_of_the_first_codec(page: Page) -> None:
    assert page.ask("/music/waveform.json").json == {"codec": "PCMU", "peaks": [0.5]}
    page.state = sample_state(codecs=["G722", "opus"])
    page.now += 1
    assert page.ask("/music/waveform.json").json == {"codec": "G722", "peaks": [0.5]}
